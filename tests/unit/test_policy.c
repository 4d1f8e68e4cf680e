// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Is the policy table complete and does it mean what it says? Three independent views of "sensitive": what
 * Zydis flags or files under a system category, found by enumerating prefixes, maps, opcodes and ModRM; a
 * list taken by hand from the SDM; and each row's own sample encoding, whose length LLVM must agree with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>

#include "hypercalls/decode.h"
#include "hypercalls/policy.h"

static const int widths[] = {16, 32, 64};

/* ---- (a) what the decoder calls privileged or files under the system ---- */

/*
 * Instructions that Zydis marks or files as above and that need no row. 64-bit Linux hosts leave CR4.CET's
 * supervisor half and CR4.UINTR clear; user shadow stacks are on only for a process that asked for them.
 */
static const struct {
	ZydisMnemonic mnemonic;
	const char *reason;
} ignored[] = {
    {ZYDIS_MNEMONIC_BOUND, "works at any CPL; its #BR reaches the monitor as a signal and is injected"},
    {ZYDIS_MNEMONIC_ENCLU, "user half of SGX: #UD at CPL 0 of a guest that sees no SGX, ordinary at CPL 3"},
    {ZYDIS_MNEMONIC_CLUI, "#UD while the host's CR4.UINTR is clear, as it should be for the guest"},
    {ZYDIS_MNEMONIC_STUI, "#UD while the host's CR4.UINTR is clear, as it should be for the guest"},
    {ZYDIS_MNEMONIC_TESTUI, "#UD while the host's CR4.UINTR is clear, as it should be for the guest"},
    {ZYDIS_MNEMONIC_UIRET, "#UD while the host's CR4.UINTR is clear, as it should be for the guest"},
    {ZYDIS_MNEMONIC_SENDUIPI, "#UD while the host's CR4.UINTR is clear, as it should be for the guest"},
    {ZYDIS_MNEMONIC_ENDBR32, "a NOP at any CPL while indirect-branch tracking is off"},
    {ZYDIS_MNEMONIC_ENDBR64, "a NOP at any CPL while indirect-branch tracking is off"},
    {ZYDIS_MNEMONIC_RDSSPD, "a NOP at any CPL while shadow stacks are off"},
    {ZYDIS_MNEMONIC_RDSSPQ, "a NOP at any CPL while shadow stacks are off"},
    {ZYDIS_MNEMONIC_INCSSPD, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_INCSSPQ, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_RSTORSSP, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_SAVEPREVSSP, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_WRSSD, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_WRSSQ, "#UD while shadow stacks are off, as it should be for the guest"},
    {ZYDIS_MNEMONIC_ENQCMD, "takes its PASID from an MSR that the host leaves invalid for us: #GP"},
    {ZYDIS_MNEMONIC_PTWRITE, "writes to a trace that only the host can switch on"},
    {ZYDIS_MNEMONIC_XSAVE, "stores state that is the guest's own; PKRU in it is the value that it runs with"},
    {ZYDIS_MNEMONIC_XSAVE64, "stores state that is the guest's own"},
    {ZYDIS_MNEMONIC_XSAVEC, "stores state that is the guest's own"},
    {ZYDIS_MNEMONIC_XSAVEC64, "stores state that is the guest's own"},
    {ZYDIS_MNEMONIC_XSAVEOPT, "stores state that is the guest's own"},
    {ZYDIS_MNEMONIC_XSAVEOPT64, "stores state that is the guest's own"},
};

static bool is_ignored(ZydisMnemonic mnemonic)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		if (ignored[i].mnemonic == mnemonic)
			return true;
	return false;
}

static bool is_system(const ZydisDecodedInstruction *zi)
{
	if (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED || zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return true;
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SEGOP:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_SGX:
	case ZYDIS_CATEGORY_CET:
	case ZYDIS_CATEGORY_UINTR:
	case ZYDIS_CATEGORY_PCONFIG:
	case ZYDIS_CATEGORY_RDPID:
	case ZYDIS_CATEGORY_RDPRU:
	case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_PKU:
	case ZYDIS_CATEGORY_SMAP:
	case ZYDIS_CATEGORY_PT:
	case ZYDIS_CATEGORY_ENQCMD:
	case ZYDIS_CATEGORY_WAITPKG:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_HRESET:
		return true;
	default:
		return false;
	}
}

static const ZydisDecoder *decoder(unsigned w)
{
	static ZydisDecoder d[3];

	if (!d[2].stack_width) {
		ZydisDecoderInit(&d[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
		ZydisDecoderInit(&d[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
		ZydisDecoderInit(&d[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	}
	return &d[w];
}

/* An operand in a segment, control, debug or table register makes any mnemonic sensitive. */
static bool touches_system_register(const ZydisDecoderContext *ctx, const ZydisDecodedInstruction *zi)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

	ZydisDecoderDecodeOperands(decoder(zi->machine_mode == ZYDIS_MACHINE_MODE_LONG_64     ? 2
					   : zi->machine_mode == ZYDIS_MACHINE_MODE_LEGACY_32 ? 1
											      : 0),
				   ctx, zi, ops, zi->operand_count);
	for (unsigned i = 0; i < zi->operand_count_visible; i++) {
		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(ops[i].reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT:
		case ZYDIS_REGCLASS_CONTROL:
		case ZYDIS_REGCLASS_DEBUG:
		case ZYDIS_REGCLASS_TEST:
		case ZYDIS_REGCLASS_TABLE:
			return true;
		default:
			break;
		}
	}
	return false;
}

static unsigned system_forms;
static bool row_found[OP_COUNT];

static void check_encoding(unsigned w, const uint8_t *bytes, unsigned size)
{
	ZydisDecodedInstruction zi;
	ZydisDecoderContext ctx;
	struct insn insn;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(decoder(w), &ctx, bytes, size, &zi))) {
		assert_true(insn_decode(&insn, bytes, size, 0, widths[w]) < 0);
		return;
	}
	assert_int_equal(insn_decode(&insn, bytes, size, 0, widths[w]), zi.length);
	assert_in_range(insn.op, 0, OP_COUNT - 1);
	row_found[insn.op] = true;
	if (insn.op) {
		assert_true(policy_get(insn.op)->widths & widths[w] / 16);
		return;
	}
	if (!is_system(&zi) && !touches_system_register(&ctx, &zi))
		return;
	system_forms++;
	if (!is_ignored(zi.mnemonic))
		fail_msg("%d-bit %s (%02x %02x %02x %02x %02x): no row and no reason to ignore it", widths[w],
			 ZydisMnemonicGetString(zi.mnemonic), bytes[0], bytes[1], bytes[2], bytes[3],
			 bytes[4]);
}

static void every_system_form_has_a_row(void **state)
{
	static const struct {
		uint8_t len, bytes[3];
	} prefixes[] = {{0, {0}},    {1, {0x66}},	{1, {0xf3}},	  {1, {0xf2}},
			{1, {0x67}}, {2, {0x66, 0xf3}}, {2, {0x66, 0xf2}}},
	  maps[] = {{0, {0}},
		    {1, {0x0f}},
		    {2, {0x0f, 0x38}},
		    {2, {0x0f, 0x3a}},
		    {3, {0xc4, 0xe1, 0x78}},
		    {3, {0xc4, 0xe2, 0x78}}};
	(void)state;

	for (unsigned w = 0; w < 3; w++)
		for (unsigned p = 0; p < sizeof(prefixes) / sizeof(*prefixes); p++)
			for (unsigned m = 0; m < sizeof(maps) / sizeof(*maps); m++)
				for (unsigned rex = 0; rex < (w == 2 && maps[m].bytes[0] != 0xc4 ? 2 : 1);
				     rex++)
					for (unsigned i = 0; i < 0x10000; i++) {
						uint8_t bytes[16] = {0};
						unsigned n = prefixes[p].len;

						memcpy(bytes, prefixes[p].bytes, n);
						if (rex)
							bytes[n++] = 0x4c; /* REX.WR: CR8 as well */
						memcpy(bytes + n, maps[m].bytes, maps[m].len);
						n += maps[m].len;
						bytes[n++] = i >> 8;
						bytes[n++] = i;
						check_encoding(w, bytes, sizeof(bytes));
					}
	assert_true(system_forms > 0);
	for (unsigned op = 1; op < OP_COUNT; op++)
		if (!row_found[op])
			fail_msg("%s: no encoding found this row", policy_get(op)->id);
}

/* ---- (b) by hand from the SDM: 3A 2.8 and 5.9, 3C 25.1.2 and 25.1.3, and APM 2 15.9 ---- */

struct listed {
	const char *mnemonic; /* must be the row's */
	uint8_t widths;	      /* where the encoding is that instruction */
	uint8_t size, bytes[11];
};
#define L(mnemonic, widths, ...)                                                                             \
	{                                                                                                    \
		mnemonic, widths, sizeof((const uint8_t[]){__VA_ARGS__}),                                    \
		{                                                                                            \
			__VA_ARGS__                                                                          \
		}                                                                                            \
	}

/* clang-format off */
static const struct listed sdm[] = {
	/* flags and interrupts, all operand sizes */
	L("CLI", 7, 0xfa), L("STI", 7, 0xfb), L("HLT", 7, 0xf4),
	L("PUSHF", 7, 0x9c), L("PUSHF", 7, 0x66, 0x9c), L("POPF", 7, 0x9d), L("POPF", 7, 0x66, 0x9d),
	L("IRET", 7, 0xcf), L("IRET", 7, 0x66, 0xcf), L("IRET", 4, 0x48, 0xcf),
	L("INT3", 7, 0xcc), L("INT1", 7, 0xf1), L("INT", 7, 0xcd, 0x80), L("INT", 7, 0xcd, 0x03), L("INTO", 3, 0xce),
	/* far transfers */
	L("CALL", 2, 0x9a, 0, 0, 0, 0, 0, 0), L("CALL", 1, 0x9a, 0, 0, 0, 0), L("CALL", 2, 0x66, 0x9a, 0, 0, 0, 0),
	L("CALL", 7, 0xff, 0x1f), L("CALL", 2, 0x66, 0xff, 0x18), L("CALL", 4, 0x48, 0xff, 0x18),
	L("JMP", 2, 0xea, 0, 0, 0, 0, 0, 0), L("JMP", 1, 0xea, 0, 0, 0, 0), L("JMP", 2, 0x66, 0xea, 0, 0, 0, 0),
	L("JMP", 7, 0xff, 0x2f), L("JMP", 4, 0x48, 0xff, 0x28), L("JMP", 2, 0xff, 0x2d, 0, 0, 0, 0xc2),
	L("RET", 7, 0xcb), L("RET", 7, 0xca, 4, 0), L("RET", 4, 0x48, 0xcb), L("RET", 7, 0x66, 0xcb),
	/* segment registers */
	L("PUSH", 3, 0x06), L("PUSH", 3, 0x0e), L("PUSH", 3, 0x16), L("PUSH", 3, 0x1e), L("PUSH", 7, 0x0f, 0xa0),
	L("PUSH", 7, 0x0f, 0xa8), L("PUSH", 3, 0x66, 0x1e), L("PUSH", 7, 0x66, 0x0f, 0xa0),
	L("POP", 3, 0x07), L("POP", 3, 0x17), L("POP", 3, 0x1f), L("POP", 7, 0x0f, 0xa1), L("POP", 7, 0x0f, 0xa9),
	L("POP", 3, 0x66, 0x07), L("POP", 7, 0x66, 0x0f, 0xa9),
	L("MOV", 7, 0x8c, 0xc0), L("MOV", 7, 0x8c, 0xc8), L("MOV", 7, 0x8c, 0x17), L("MOV", 7, 0x8c, 0xd8), L("MOV", 7, 0x8c, 0xe0),
	L("MOV", 7, 0x8c, 0x2f), L("MOV", 7, 0x66, 0x8c, 0xd8), L("MOV", 4, 0x48, 0x8c, 0xd8),
	L("MOV", 7, 0x8e, 0xc0), L("MOV", 7, 0x8e, 0xd0), L("MOV", 7, 0x8e, 0x1f), L("MOV", 7, 0x8e, 0xe0), L("MOV", 7, 0x8e, 0xe8),
	L("MOV", 7, 0x66, 0x8e, 0xd8), L("MOV", 4, 0x48, 0x8e, 0xd8),
	L("LES", 3, 0xc4, 0x07), L("LDS", 3, 0xc5, 0x07), L("LSS", 7, 0x0f, 0xb2, 0x07), L("LFS", 7, 0x0f, 0xb4, 0x07),
	L("LGS", 7, 0x0f, 0xb5, 0x07), L("LSS", 4, 0x48, 0x0f, 0xb2, 0x07), L("LSS", 7, 0x66, 0x0f, 0xb2, 0x07),
	/* tables and descriptors */
	L("SGDT", 7, 0x0f, 0x01, 0x07), L("SIDT", 7, 0x0f, 0x01, 0x0f), L("LGDT", 7, 0x0f, 0x01, 0x17), L("LIDT", 7, 0x0f, 0x01, 0x1f),
	L("SLDT", 7, 0x0f, 0x00, 0xc0), L("SLDT", 7, 0x0f, 0x00, 0x07), L("STR", 7, 0x0f, 0x00, 0xc8), L("STR", 7, 0x0f, 0x00, 0x0f),
	L("LLDT", 7, 0x0f, 0x00, 0xd0), L("LLDT", 7, 0x0f, 0x00, 0x17), L("LTR", 7, 0x0f, 0x00, 0xd8), L("LTR", 7, 0x0f, 0x00, 0x1f),
	L("VERR", 7, 0x0f, 0x00, 0xe0), L("VERR", 7, 0x0f, 0x00, 0x27), L("VERW", 7, 0x0f, 0x00, 0xe8), L("VERW", 7, 0x0f, 0x00, 0x2f),
	L("LAR", 7, 0x0f, 0x02, 0xc1), L("LAR", 7, 0x0f, 0x02, 0x07), L("LSL", 7, 0x0f, 0x03, 0xc1), L("LSL", 7, 0x0f, 0x03, 0x07),
	L("ARPL", 3, 0x63, 0xc8), L("ARPL", 3, 0x63, 0x07), L("LAR", 7, 0x66, 0x0f, 0x02, 0xc1),
	L("SMSW", 7, 0x0f, 0x01, 0xe0), L("SMSW", 7, 0x0f, 0x01, 0x27), L("SMSW", 7, 0x66, 0x0f, 0x01, 0xe0),
	L("LMSW", 7, 0x0f, 0x01, 0xf0), L("LMSW", 7, 0x0f, 0x01, 0x37), L("CLTS", 7, 0x0f, 0x06),
	/* control and debug registers */
	L("MOV", 7, 0x0f, 0x20, 0xc0), L("MOV", 7, 0x0f, 0x20, 0xd0), L("MOV", 7, 0x0f, 0x20, 0xd8), L("MOV", 7, 0x0f, 0x20, 0xe0),
	L("MOV", 7, 0x0f, 0x22, 0xc0), L("MOV", 7, 0x0f, 0x22, 0xd0), L("MOV", 7, 0x0f, 0x22, 0xd8), L("MOV", 7, 0x0f, 0x22, 0xe0),
	L("MOV", 4, 0x44, 0x0f, 0x20, 0xc0), L("MOV", 4, 0x44, 0x0f, 0x22, 0xc0), L("MOV", 7, 0x0f, 0x20, 0x00),
	L("MOV", 7, 0x0f, 0x21, 0xc0), L("MOV", 7, 0x0f, 0x21, 0xf0), L("MOV", 7, 0x0f, 0x23, 0xc8), L("MOV", 7, 0x0f, 0x23, 0xf8),
	/* caches */
	L("INVLPG", 7, 0x0f, 0x01, 0x3f), L("INVPCID", 7, 0x66, 0x0f, 0x38, 0x82, 0x07), L("INVD", 7, 0x0f, 0x08),
	L("WBINVD", 7, 0x0f, 0x09), L("WBNOINVD", 7, 0xf3, 0x0f, 0x09),
	/* ports */
	L("IN", 7, 0xe4, 0x60), L("IN", 7, 0xe5, 0x60), L("IN", 7, 0xec), L("IN", 7, 0xed), L("IN", 7, 0x66, 0xed),
	L("OUT", 7, 0xe6, 0x80), L("OUT", 7, 0xe7, 0x80), L("OUT", 7, 0xee), L("OUT", 7, 0xef), L("OUT", 7, 0x66, 0xef),
	L("INS", 7, 0x6c), L("INS", 7, 0x6d), L("INS", 7, 0xf3, 0x6c), L("INS", 7, 0xf3, 0x66, 0x6d), L("INS", 7, 0xf3, 0x67, 0x6c),
	L("OUTS", 7, 0x6e), L("OUTS", 7, 0x6f), L("OUTS", 7, 0xf3, 0x6e), L("OUTS", 7, 0xf3, 0x66, 0x6f), L("OUTS", 7, 0xf3, 0x65, 0x6e),
	/* model-specific registers, counters, identity */
	L("RDMSR", 7, 0x0f, 0x32), L("WRMSR", 7, 0x0f, 0x30), L("RDPMC", 7, 0x0f, 0x33), L("CPUID", 7, 0x0f, 0xa2),
	L("RDTSC", 7, 0x0f, 0x31), L("RDTSCP", 7, 0x0f, 0x01, 0xf9), L("RDPID", 7, 0xf3, 0x0f, 0xc7, 0xf8), L("RDPRU", 7, 0x0f, 0x01, 0xfd),
	L("XGETBV", 7, 0x0f, 0x01, 0xd0), L("XSETBV", 7, 0x0f, 0x01, 0xd1), L("RDPKRU", 7, 0x0f, 0x01, 0xee), L("WRPKRU", 7, 0x0f, 0x01, 0xef),
	L("XRSTOR", 7, 0x0f, 0xae, 0x2f), L("XRSTOR", 4, 0x48, 0x0f, 0xae, 0x2f), L("XRSTORS", 7, 0x0f, 0xc7, 0x1f),
	L("XRSTORS", 4, 0x48, 0x0f, 0xc7, 0x1f), L("XSAVES", 7, 0x0f, 0xc7, 0x2f), L("XSAVES", 4, 0x48, 0x0f, 0xc7, 0x2f),
	/* waiting, SMAP */
	L("MONITOR", 7, 0x0f, 0x01, 0xc8), L("MWAIT", 7, 0x0f, 0x01, 0xc9), L("MONITORX", 7, 0x0f, 0x01, 0xfa), L("MWAITX", 7, 0x0f, 0x01, 0xfb),
	L("UMONITOR", 7, 0xf3, 0x0f, 0xae, 0xf0), L("UMWAIT", 7, 0xf2, 0x0f, 0xae, 0xf0), L("TPAUSE", 7, 0x66, 0x0f, 0xae, 0xf0),
	L("CLAC", 7, 0x0f, 0x01, 0xca), L("STAC", 7, 0x0f, 0x01, 0xcb),
	/* fast system calls and bases */
	L("SYSENTER", 7, 0x0f, 0x34), L("SYSEXIT", 7, 0x0f, 0x35), L("SYSEXIT", 4, 0x48, 0x0f, 0x35), L("SYSCALL", 7, 0x0f, 0x05),
	L("SYSRET", 7, 0x0f, 0x07), L("SYSRET", 4, 0x48, 0x0f, 0x07), L("SWAPGS", 4, 0x0f, 0x01, 0xf8),
	L("RDFSBASE", 4, 0xf3, 0x0f, 0xae, 0xc0), L("RDGSBASE", 4, 0xf3, 0x48, 0x0f, 0xae, 0xc8),
	L("WRFSBASE", 4, 0xf3, 0x48, 0x0f, 0xae, 0xd0), L("WRGSBASE", 4, 0xf3, 0x0f, 0xae, 0xd8),
	/* VMX, SMX, SVM, SGX, SMM */
	L("VMCALL", 7, 0x0f, 0x01, 0xc1), L("VMLAUNCH", 7, 0x0f, 0x01, 0xc2), L("VMRESUME", 7, 0x0f, 0x01, 0xc3), L("VMXOFF", 7, 0x0f, 0x01, 0xc4),
	L("VMFUNC", 7, 0x0f, 0x01, 0xd4), L("VMPTRLD", 7, 0x0f, 0xc7, 0x37), L("VMPTRST", 7, 0x0f, 0xc7, 0x3f), L("VMCLEAR", 7, 0x66, 0x0f, 0xc7, 0x37),
	L("VMXON", 7, 0xf3, 0x0f, 0xc7, 0x37), L("VMREAD", 7, 0x0f, 0x78, 0xc1), L("VMWRITE", 7, 0x0f, 0x79, 0xc1),
	L("INVEPT", 7, 0x66, 0x0f, 0x38, 0x80, 0x07), L("INVVPID", 7, 0x66, 0x0f, 0x38, 0x81, 0x07), L("GETSEC", 7, 0x0f, 0x37),
	L("VMMCALL", 7, 0x0f, 0x01, 0xd9), L("VMRUN", 7, 0x0f, 0x01, 0xd8), L("VMLOAD", 7, 0x0f, 0x01, 0xda), L("VMSAVE", 7, 0x0f, 0x01, 0xdb),
	L("STGI", 7, 0x0f, 0x01, 0xdc), L("CLGI", 7, 0x0f, 0x01, 0xdd), L("SKINIT", 7, 0x0f, 0x01, 0xde), L("INVLPGA", 7, 0x0f, 0x01, 0xdf),
	L("INVLPGB", 7, 0x0f, 0x01, 0xfe), L("TLBSYNC", 7, 0x0f, 0x01, 0xff), L("RSM", 7, 0x0f, 0xaa), L("ENCLS", 7, 0x0f, 0x01, 0xcf),
};
/* clang-format on */

static void the_sdm_list_is_covered(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof(sdm) / sizeof(*sdm); i++)
		for (unsigned w = 0; w < 3; w++) {
			struct insn insn;

			if (!(sdm[i].widths & widths[w] / 16))
				continue;
			if (insn_decode(&insn, sdm[i].bytes, sdm[i].size, 0, widths[w]) != sdm[i].size)
				fail_msg("sdm[%zu] %s: does not decode in %d-bit code", i, sdm[i].mnemonic,
					 widths[w]);
			if (strcmp(policy_get(insn.op)->mnemonic, sdm[i].mnemonic))
				fail_msg("sdm[%zu] %s: finds %s in %d-bit code", i, sdm[i].mnemonic,
					 policy_get(insn.op)->id, widths[w]);
		}
}

/* The neighbours of sensitive forms that are ordinary: a row here would cost speed, or break code. */
static void ordinary_forms_have_no_row(void **state)
{
	static const struct listed ordinary[] = {
	    L("", 7, 0x89, 0xd8),
	    L("", 7, 0x8b, 0x07),
	    L("", 7, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0), /* mov */
	    L("", 7, 0xb8, 0, 0, 0, 0),
	    L("", 7, 0x50),
	    L("", 7, 0x6a, 0),
	    L("", 7, 0x58),
	    L("", 7, 0xff, 0x37),
	    L("", 7, 0x8f, 0x07),
	    L("", 7, 0xff, 0xd0),
	    L("", 7, 0xff, 0xe0),
	    L("", 7, 0xe8, 0, 0, 0, 0),
	    L("", 7, 0xeb, 0),
	    L("", 7, 0xc3),
	    L("", 7, 0xf3, 0xc3),
	    L("", 7, 0xc2, 4, 0),
	    L("", 7, 0x0f, 0x0b),
	    L("", 7, 0xfc),
	    L("", 7, 0xf8),
	    L("", 7, 0x9e),
	    L("", 7, 0x0f, 0x18, 0x07),
	    L("", 7, 0xf3, 0x90),
	    L("", 7, 0x0f, 0xae, 0x07),
	    L("", 7, 0x0f, 0xae, 0x27),
	    L("", 7, 0x0f, 0xae, 0xe8),
	    L("", 7, 0x0f, 0xae, 0x3f),
	    L("", 7, 0xf3, 0xa5),
	    L("", 4, 0x63, 0xc8),
	    L("", 3, 0x62, 0x07),
	    L("", 7, 0x0f, 0x1f, 0x00),
	    L("", 7, 0xf0, 0x0f, 0xba, 0x2f, 0x07),
	    L("", 7, 0x0f, 0xc7, 0x0f),
	};
	(void)state;

	for (size_t i = 0; i < sizeof(ordinary) / sizeof(*ordinary); i++)
		for (unsigned w = 0; w < 3; w++) {
			uint8_t bytes[16] = {0};
			struct insn insn;

			if (!(ordinary[i].widths & widths[w] / 16))
				continue;
			memcpy(bytes, ordinary[i].bytes, ordinary[i].size);
			assert_true(insn_decode(&insn, bytes, sizeof(bytes), 0, widths[w]) > 0);
			if (insn.op)
				fail_msg("ordinary[%zu]: finds %s in %d-bit code", i, policy_get(insn.op)->id,
					 widths[w]);
		}
}

/* Where the same bytes mean different rows by width or by register. */
static void rows_differ_where_behaviour_does(void **state)
{
	static const struct {
		int width;
		unsigned op;
		uint8_t size, bytes[8];
	} cases[] = {
	    {32, OP_SYSCALL, 2, {0x0f, 0x05}},
	    {64, OP_SYSCALL64, 2, {0x0f, 0x05}},
	    {32, OP_SYSENTER, 2, {0x0f, 0x34}},
	    {64, OP_SYSENTER64, 2, {0x0f, 0x34}},
	    {32, OP_SYSEXIT, 2, {0x0f, 0x35}},
	    {64, OP_SYSEXIT64, 2, {0x0f, 0x35}},
	    {16, OP_SYSRET, 2, {0x0f, 0x07}},
	    {64, OP_SYSRET64, 2, {0x0f, 0x07}},
	    {16, OP_IRET, 1, {0xcf}},
	    {64, OP_IRET64, 1, {0xcf}},
	    {32, OP_MOV_TO_SS, 2, {0x8e, 0xd0}},
	    {32, OP_MOV_TO_SREG, 2, {0x8e, 0xd8}},
	    {32, OP_MOV_FROM_CR3, 3, {0x0f, 0x20, 0xd8}},
	    {32, OP_MOV_TO_CR4, 3, {0x0f, 0x22, 0xe0}},
	    {64, OP_MOV_TO_CR8, 4, {0x44, 0x0f, 0x22, 0xc0}},
	    {64, OP_MOV_TO_CR0, 4, {0x41, 0x0f, 0x22, 0xc0}},
	    {32, OP_WBINVD, 2, {0x0f, 0x09}},
	    {32, OP_WBNOINVD, 3, {0xf3, 0x0f, 0x09}},
	    {32, OP_POP_SS, 1, {0x17}},
	    {32, OP_POP_GS, 2, {0x0f, 0xa9}},
	    {32, OP_PUSH_CS, 1, {0x0e}},
	    {32, OP_PUSH_FS, 2, {0x0f, 0xa0}},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn insn;

		assert_int_equal(insn_decode(&insn, cases[i].bytes, cases[i].size, 0, cases[i].width),
				 cases[i].size);
		if (insn.op != cases[i].op)
			fail_msg("case %zu finds %s instead of %s", i, policy_get(insn.op)->id,
				 policy_get(cases[i].op)->id);
	}
}

/* ---- (c) the rows themselves ---- */

static int sample_width(const struct policy *p)
{
	return p->widths & WIDTH_32 ? 32 : p->widths & WIDTH_64 ? 64 : 16;
}

/* LLVM 14 does not know these at all; for all others its length must agree. */
static bool unknown_to_llvm(unsigned op)
{
	return op == OP_INT1 || op == OP_RDPRU;
}

static void samples_find_their_rows_and_llvm_agrees(void **state)
{
	static const char *const triples[] = {
	    [1] = "i386-linux-gnu-code16", [2] = "i386-linux-gnu", [4] = "x86_64-linux-gnu"};
	LLVMDisasmContextRef llvm[5] = {NULL};
	(void)state;

	for (unsigned w = 1; w <= 4; w *= 2) {
		llvm[w] = LLVMCreateDisasm(triples[w], NULL, 0, NULL, NULL);
		assert_non_null(llvm[w]);
	}
	for (unsigned op = 1; op < OP_COUNT; op++) {
		const struct policy *p = policy_get(op);
		int width = sample_width(p);
		uint8_t bytes[15];
		char text[128];
		struct insn insn;
		size_t len;

		memcpy(bytes, p->sample, sizeof(bytes));
		if (insn_decode(&insn, bytes, p->sample_len, 0, width) != p->sample_len)
			fail_msg("%s: the sample does not decode to its length", p->id);
		if (insn.op != op)
			fail_msg("%s: the sample finds %s", p->id, policy_get(insn.op)->id);
		len = LLVMDisasmInstruction(llvm[width / 16], bytes, p->sample_len, 0, text, sizeof(text));
		if (unknown_to_llvm(op) ? len : len != p->sample_len)
			fail_msg("%s: LLVM reads %zu bytes of %u: %s", p->id, len, p->sample_len,
				 len ? text : "");
	}
	for (unsigned w = 1; w <= 4; w *= 2)
		LLVMDisasmDispose(llvm[w]);
}

static void rows_are_well_formed(void **state)
{
	const struct policy *none = policy_get(OP_NONE);
	(void)state;

	assert_string_equal(none->id, "OP_NONE");
	assert_string_equal(none->mnemonic, "");
	assert_string_equal(none->reason, "");
	assert_int_equal(none->cls, CLASS_NONE);
	assert_int_equal(none->widths, 0);
	for (unsigned op = 1; op < OP_COUNT; op++) {
		const struct policy *p = policy_get(op);

		if (strncmp(p->id, "OP_", 3) || !p->widths || p->widths & ~WIDTH_ALL || !p->cls)
			fail_msg("%s: id, widths or class", p->id);
		if (!*p->mnemonic || !*p->reason || !*p->meaning || p->reason[strlen(p->reason) - 1] == '.')
			fail_msg("%s: mnemonic, reason or meaning", p->id);
		if (strncmp(p->manual, "SDM ", 4) && strncmp(p->manual, "APM ", 4) &&
		    strncmp(p->manual, "Intel ", 6))
			fail_msg("%s: manual \"%s\"", p->id, p->manual);
		if (strstr(p->reason, "  ") || strstr(p->meaning, "  ") || strstr(p->manual, "  "))
			fail_msg("%s: two blanks", p->id);
		if (!p->sample_len || p->sample_len > sizeof(p->sample))
			fail_msg("%s: sample", p->id);
		if (p->hypercall == HC_NONE && p->lowering != LOWER_VERBATIM)
			fail_msg("%s: patched, and nobody handles it", p->id);
		if (p->hypercall == HC_UD && p->lowering != LOWER_EXIT && p->lowering != LOWER_VERBATIM)
			fail_msg("%s: an inline lowering for #UD", p->id);
	}
}

/* policy_classify() walks from the last row of a key to the first, which works only if none stands between.
 */
static void rows_of_one_key_stand_together(void **state)
{
	static const char *const keys[OP_COUNT] = {
#define SENSITIVE(id, key, ...) [id] = #key,
#include "hypercalls/sensitive.def"
#undef SENSITIVE
	};
	(void)state;

	for (unsigned a = 1; a < OP_COUNT; a++)
		for (unsigned b = a + 1; b < OP_COUNT; b++)
			if (!strcmp(keys[a], keys[b]) && strcmp(keys[b - 1], keys[b]))
				fail_msg("%s stands apart from %s", policy_get(b)->id, policy_get(a)->id);
}

static void lowerings_fit_their_instructions(void **state)
{
	(void)state;

	for (unsigned op = 1; op < OP_COUNT; op++) {
		const struct policy *p = policy_get(op);

		switch (p->lowering) {
		case LOWER_CLI:
			assert_int_equal(p->hypercall, HC_CLI);
			break;
		case LOWER_STI:
			assert_int_equal(p->hypercall, HC_STI);
			break;
		case LOWER_PUSHF:
			assert_int_equal(p->hypercall, HC_PUSHF);
			break;
		case LOWER_POPF:
			assert_int_equal(p->hypercall, HC_POPF);
			break;
		case LOWER_SEG_READ:
			assert_int_equal(p->hypercall, HC_SEG_READ);
			break;
		case LOWER_CR_READ:
			assert_int_equal(p->hypercall, HC_CR_READ);
			break;
		}
	}
}

static void may_not_trap(void **state)
{
	(void)state;

	assert_false(policy_is_replaced(OP_NONE) || policy_is_replaced(OP_RDTSC));
	assert_true(policy_is_replaced(OP_CLI) && policy_is_replaced(OP_POPF));
	assert_false(policy_may_not_trap(OP_NONE));
	assert_false(policy_may_not_trap(OP_CLI));
	assert_false(policy_may_not_trap(OP_IN));
	assert_false(policy_may_not_trap(OP_INT3));
	assert_false(policy_may_not_trap(OP_RDTSC));
	assert_false(policy_may_not_trap(OP_XGETBV));
	assert_true(policy_may_not_trap(OP_POPF));
	assert_true(policy_may_not_trap(OP_PUSHF));
	assert_true(policy_may_not_trap(OP_IRET));
	assert_true(policy_may_not_trap(OP_SGDT));
	assert_true(policy_may_not_trap(OP_CPUID));
	assert_true(policy_may_not_trap(OP_POP_DS));
	assert_true(policy_may_not_trap(OP_LSS));
}

static void names(void **state)
{
	(void)state;

	assert_string_equal(policy_class_name(CLASS_PRIVILEGED), "privileged");
	assert_string_equal(policy_class_name(CLASS_NEVER_TRAPS), "never-traps");
	assert_string_equal(policy_class_name(CLASS_HOST_CONFIG), "host-config");
	assert_string_equal(policy_class_name(CLASS_BY_OPERAND), "by-operand");
	assert_string_equal(hypercall_name(HC_CLI), "cli");
	assert_string_equal(lowering_name(LOWER_SEG_READ), "seg-read");
	for (unsigned hc = 0; hc < HC_COUNT; hc++)
		for (const char *c = hypercall_name(hc); *c; c++)
			assert_true(islower((unsigned char)*c) || *c == '_');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_system_form_has_a_row),
	    cmocka_unit_test(the_sdm_list_is_covered),
	    cmocka_unit_test(ordinary_forms_have_no_row),
	    cmocka_unit_test(rows_differ_where_behaviour_does),
	    cmocka_unit_test(samples_find_their_rows_and_llvm_agrees),
	    cmocka_unit_test(rows_are_well_formed),
	    cmocka_unit_test(rows_of_one_key_stand_together),
	    cmocka_unit_test(lowerings_fit_their_instructions),
	    cmocka_unit_test(may_not_trap),
	    cmocka_unit_test(names),
	};

	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86Disassembler();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
