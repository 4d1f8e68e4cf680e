// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Recognition by LLVM's text. LLVM's C interface prints every instruction that it decodes and gives no other
 * view of it; the text (AT&T syntax) names mnemonic, operand size and operands without doubt, so it is read here
 * rather than the bytes a second time. The list of sensitive mnemonics was written from the SDM (3A 5.9 and
 * 3A 2.8 "privileged instructions", 2A-2D "Protected Mode Exceptions" of each) and the AMD manual (3, chapter 4);
 * it does not know hypercalls/sensitive.def.
 */
#include "patcher/verify_insn.h"

#include <dlfcn.h>
#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 160
#define INSN_MAX 15 /* SDM 2A 2.3.11 */

/*
 * LLVM is loaded here and not with the program: its 335,000 relocations take nine tenths of the time that the program needs
 * to start, and no other command wants it.
 */
#define LLVM_LIBRARY "libLLVM-14.so.1"

#define LLVM_FUNCTIONS(F)                                                                                    \
	F(LLVMInitializeX86TargetInfo)                                                                       \
	F(LLVMInitializeX86TargetMC)                                                                         \
	F(LLVMInitializeX86Disassembler)                                                                     \
	F(LLVMCreateDisasm)                                                                                  \
	F(LLVMDisasmInstruction)                                                                             \
	F(LLVMDisasmDispose)

struct verify_decoder {
	LLVMDisasmContextRef llvm;
	char text[TEXT_MAX];
#define F(name) __typeof__(name) *name;
	LLVM_FUNCTIONS(F)
#undef F
};

/* Stays loaded: another decoder finds it there. */
static bool load_llvm(struct verify_decoder *d)
{
	void *library = dlopen(LLVM_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
	bool all = library;

#define F(name) all = all && (d->name = (__typeof__(d->name))dlsym(library, #name));
	LLVM_FUNCTIONS(F)
#undef F
	return all;
}

struct verify_decoder *verify_decoder_new(void)
{
	struct verify_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	if (load_llvm(d)) {
		/* Idempotent, but not safe against itself: callers make their decoders before they start threads. */
		d->LLVMInitializeX86TargetInfo();
		d->LLVMInitializeX86TargetMC();
		d->LLVMInitializeX86Disassembler();
		d->llvm = d->LLVMCreateDisasm("i386-unknown-linux-gnu", NULL, 0, NULL, NULL);
	}
	if (!d->llvm) {
		free(d);
		return NULL;
	}
	return d;
}

void verify_decoder_free(struct verify_decoder *d)
{
	if (!d)
		return;
	d->LLVMDisasmDispose(d->llvm);
	free(d);
}

struct row {
	const char *name;
	uint8_t cls, what, flow;
};

/* Sorted by name (strcmp), mnemonics with LLVM's operand-size suffix. test_verify.c checks the order. */
/* clang-format off */
static const struct row rows[] = {
	{ "arpl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "calll",      0, 0, VF_CALL },
	{ "callw",      0, 0, VF_ODD },
	{ "clac",       VERIFY_TRAPS,  W_OTHER, VF_NEXT }, /* #UD at CPL 3 */
	{ "clgi",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "cli",        VERIFY_TRAPS,  W_CLI,   VF_NEXT },
	{ "clrssbsy",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "clts",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "cpuid",      VERIFY_SILENT, W_OTHER, VF_NEXT }, /* the host's leaves, unless CPUID faulting is on */
	{ "encls",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "enclv",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "enqcmds",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "getsec",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "hlt",        VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "hreset",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "inb",        VERIFY_TRAPS,  W_OTHER, VF_NEXT }, /* IOPL is 0 and there is no I/O bitmap */
	{ "inl",        VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "insb",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "insl",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "insw",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "int",        VERIFY_SILENT, W_OTHER, VF_NEXT }, /* by vector: 0x80 enters the host kernel */
	{ "int1",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "int3",       VERIFY_TRAPS,  W_INT3,  VF_NEXT },
	{ "into",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invd",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invept",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invlpg",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invlpga",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invlpgb",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invpcid",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "invvpid",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "inw",        VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "iretl",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "iretw",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "ja",         0, 0, VF_COND },
	{ "jae",        0, 0, VF_COND },
	{ "jb",         0, 0, VF_COND },
	{ "jbe",        0, 0, VF_COND },
	{ "jcxz",       0, 0, VF_COND },
	{ "je",         0, 0, VF_COND },
	{ "jecxz",      0, 0, VF_COND },
	{ "jg",         0, 0, VF_COND },
	{ "jge",        0, 0, VF_COND },
	{ "jl",         0, 0, VF_COND },
	{ "jle",        0, 0, VF_COND },
	{ "jmp",        0, 0, VF_JMP },
	{ "jmpl",       0, 0, VF_JMP },
	{ "jmpw",       0, 0, VF_ODD },
	{ "jne",        0, 0, VF_COND },
	{ "jno",        0, 0, VF_COND },
	{ "jnp",        0, 0, VF_COND },
	{ "jns",        0, 0, VF_COND },
	{ "jo",         0, 0, VF_COND },
	{ "jp",         0, 0, VF_COND },
	{ "js",         0, 0, VF_COND },
	{ "larl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "larw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lcalll",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lcallw",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "ldsl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "ldsw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lesl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lesw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lfsl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lfsw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lgdtl",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "lgdtw",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "lgsl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lgsw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lidtl",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "lidtw",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "ljmpl",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "ljmpw",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "lldtw",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "lmsww",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "loadiwkey",  VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "loop",       0, 0, VF_COND },
	{ "loope",      0, 0, VF_COND },
	{ "loopne",     0, 0, VF_COND },
	{ "lretl",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "lretw",      VERIFY_SILENT, W_OTHER, VF_FAR },
	{ "lsll",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lslw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lssl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "lssw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "ltrw",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "monitor",    VERIFY_TRAPS,  W_OTHER, VF_NEXT }, /* #UD at CPL 3 */
	{ "monitorx",   VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "mwait",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "mwaitx",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "outb",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "outl",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "outsb",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "outsl",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "outsw",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "outw",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "pconfig",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "popfl",      VERIFY_SILENT, W_POPF,  VF_NEXT },
	{ "popfw",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "psmash",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "pushfl",     VERIFY_SILENT, W_PUSHF, VF_NEXT },
	{ "pushfw",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "pvalidate",  VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "rdmsr",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "rdpid",      VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "rdpkru",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "rdpmc",      VERIFY_SILENT, W_OTHER, VF_NEXT }, /* completes where the host sets CR4.PCE */
	{ "rdpru",      VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "rdtsc",      VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "rdtscp",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "retl",       0, 0, VF_RET },
	{ "retw",       0, 0, VF_ODD },
	{ "rsm",        VERIFY_TRAPS,  W_OTHER, VF_FAR },
	{ "rstorssp",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "seamcall",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "seamops",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "seamret",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "setssbsy",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "sgdtl",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sgdtw",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sidtl",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sidtw",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "skinit",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "sldtl",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sldtw",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "smswl",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "smsww",      VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "stac",       VERIFY_TRAPS,  W_OTHER, VF_NEXT }, /* #UD at CPL 3 */
	{ "stgi",       VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "sti",        VERIFY_TRAPS,  W_STI,   VF_NEXT },
	{ "strl",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "strw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "swapgs",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "syscall",    VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sysenter",   VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "sysexitl",   VERIFY_TRAPS,  W_OTHER, VF_FAR },
	{ "sysretl",    VERIFY_TRAPS,  W_OTHER, VF_FAR },
	{ "tdcall",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "tlbsync",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "tpause",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "ud0l",       0, 0, VF_STOP },
	{ "ud0w",       0, 0, VF_STOP },
	{ "ud1l",       0, 0, VF_STOP },
	{ "ud1w",       0, 0, VF_STOP },
	{ "ud2",        0, 0, VF_STOP },
	{ "umonitor",   VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "umwait",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "verr",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "verw",       VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "vmcall",     VERIFY_SILENT, W_OTHER, VF_NEXT }, /* KVM answers -EPERM in EAX instead of #UD */
	{ "vmclear",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmfunc",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "vmlaunch",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmload",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmmcall",    VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "vmptrld",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmptrst",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmreadl",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmresume",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmrun",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmsave",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmwritel",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmxoff",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "vmxon",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "wbinvd",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "wbnoinvd",   VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "wrmsr",      VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "wrpkru",     VERIFY_SILENT, W_OTHER, VF_NEXT },
	{ "wrussd",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "xbegin",     0, 0, VF_ODD }, /* a relative branch that is not one by name */
	{ "xgetbv",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "xrstor",     VERIFY_LEAKS,  W_OTHER, VF_NEXT },
	{ "xrstors",    VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "xsaves",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
	{ "xsetbv",     VERIFY_TRAPS,  W_OTHER, VF_NEXT },
};
/* clang-format on */

static const struct row *row_find(const char *name)
{
	size_t lo = 0, hi = sizeof(rows) / sizeof(rows[0]);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(name, rows[mid].name);

		if (!c)
			return &rows[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* Is a bare segment register (not an override, nor %esi) an operand? */
static bool has_segment_operand(const char *args)
{
	for (const char *p = strchr(args, '%'); p; p = strchr(p + 1, '%'))
		if (p[1] && p[2] == 's' && strchr("cdefgs", p[1]) && (p[3] == '\0' || p[3] == ','))
			return true;
	return false;
}

/* Control and debug registers: %cr0 ... and %dr0 ... (%db0 in old notation). */
static bool has_system_operand(const char *args, char letter)
{
	for (const char *p = strchr(args, '%'); p; p = strchr(p + 1, '%'))
		if (p[1] == letter && (p[2] == 'r' || p[2] == 'b') && p[3] >= '0' && p[3] <= '9')
			return true;
	return false;
}

static void set_class(struct verify_insn *in, uint8_t cls, uint8_t what)
{
	in->cls = cls;
	in->what = what;
}

/* mov, push and pop are sensitive by operand, not by name. */
static void classify_operands(struct verify_insn *in)
{
	const char *a = in->args;

	if (in->name[0] == 'm') {
		if (has_segment_operand(a))
			set_class(in, VERIFY_SILENT,
				  a[0] == '%' && a[2] == 's' && a[3] == ',' ? W_FROM_SEG : W_OTHER);
		else if (has_system_operand(a, 'c'))
			set_class(in, VERIFY_TRAPS, a[1] == 'c' ? W_FROM_CR : W_OTHER);
		else if (has_system_operand(a, 'd'))
			set_class(in, VERIFY_TRAPS, W_OTHER);
	} else if (has_segment_operand(a)) {
		set_class(in, VERIFY_SILENT, !strcmp(in->name, "pushl") ? W_PUSH_SEG : W_OTHER);
	}
}

static bool is_prefix(const char *name)
{
	return !strcmp(name, "lock") || !strcmp(name, "rep") || !strcmp(name, "repne") ||
	       !strcmp(name, "xacquire") || !strcmp(name, "xrelease") || !strcmp(name, "data16") ||
	       !strcmp(name, "addr16") || !strcmp(name, "notrack") || !strcmp(name, "cs") ||
	       !strcmp(name, "ds") || !strcmp(name, "es") || !strcmp(name, "fs") || !strcmp(name, "gs") ||
	       !strcmp(name, "ss");
}

static char *word_end(char *p)
{
	while (*p && *p != '\t' && *p != ' ')
		p++;
	return p;
}

/* Split "\tname\targs", prefixes stripped. False when the text holds nothing but prefixes. */
static bool split(char *text, struct verify_insn *in)
{
	char *p = text, *end;

	for (;;) {
		while (*p == '\t' || *p == ' ')
			p++;
		if (!*p)
			return false;
		end = word_end(p);
		in->name = p;
		in->args = *end ? end + 1 : end;
		*end = '\0';
		if ((end - p) > 8 || !strchr("lrxdancefgs", *p) || !is_prefix(p))
			break;
		p = (char *)in->args;
	}
	while (*in->args == '\t' || *in->args == ' ')
		in->args++;
	return true;
}

static void classify(struct verify_insn *in)
{
	const char *n = in->name;
	const struct row *row;

	/* The commonest mnemonics by far; nothing in the table starts like them but what is named here. */
	if (n[0] == 'm' && n[1] == 'o' && n[2] == 'v') {
		if (n[3] && !n[4])
			classify_operands(in);
		return;
	}
	if (n[0] == 'p' &&
	    (!strcmp(n, "pushl") || !strcmp(n, "popl") || !strcmp(n, "pushw") || !strcmp(n, "popw"))) {
		classify_operands(in);
		return;
	}
	if (n[0] == 'l' && n[1] == 'e' && n[2] == 'a')
		return;
	row = row_find(n);
	if (!row)
		return;
	set_class(in, row->cls, row->what);
	in->flow = row->flow;
	if (in->args[0] == '*') {
		if (in->flow == VF_JMP)
			in->flow = VF_JMP_IND;
		else if (in->flow == VF_CALL)
			in->flow = VF_CALL_IND;
	}
	/* LLVM prints the displacement, signed, and leaves the addition to the reader. */
	if (in->flow == VF_COND || in->flow == VF_JMP || in->flow == VF_CALL)
		in->target = in->va + in->len + (uint32_t)strtoll(in->args, NULL, 0);
}

int verify_decode(struct verify_decoder *d, const uint8_t *bytes, size_t avail, uint32_t va,
		  struct verify_insn *in)
{
	uint8_t end[2 * INSN_MAX] = {0};
	size_t done = 0;

	*in = (struct verify_insn){.va = va, .name = "", .args = ""};
	/* LLVM looks at the byte behind some prefixes before it knows whether it needs it. */
	if (avail < INSN_MAX) {
		memcpy(end, bytes, avail);
		bytes = end;
	} else {
		avail = INSN_MAX;
	}
	/* LLVM takes a prefix that fits nothing as an instruction of its own; hardware does not. */
	while (done < avail) {
		size_t len = d->LLVMDisasmInstruction(d->llvm, (uint8_t *)bytes + done, INSN_MAX - done, va + done,
						      d->text, sizeof(d->text));

		if (!len || done + len > avail)
			break;
		done += len;
		if (split(d->text, in)) {
			in->len = done;
			classify(in);
			return in->len;
		}
	}
	/* int1, which LLVM does not know. */
	if (avail && bytes[0] == 0xf1) {
		in->len = 1;
		in->name = "int1";
		set_class(in, VERIFY_TRAPS, W_OTHER);
	}
	return in->len;
}
