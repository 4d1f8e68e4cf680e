// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The differential fuzzer of what is interpreted in C (monitor/vmm/interpret.h): one random instruction, all segments based
 * apart, 16-bit addresses, prefixes in any number; the same in Unicorn. Registers, memory and defined flags have to agree, and
 * so have exceptions. An instruction that leaves RAM is not compared.
 */
#ifndef TESTS_FUZZ_INTERPRET_FUZZ_H
#define TESTS_FUZZ_INTERPRET_FUZZ_H

#include "tests/fuzz/long_generate.h"
#include "tests/unit/guest.h"

#include <unicorn/unicorn.h>

#include "monitor/vmm/interpret.h"

enum { IF_AREA = 0x100000, IF_AREA_SIZE = 0x20000, IF_CODE = 0x200000 };

static struct {
	uc_engine *uc;
	uint8_t *ram;
	int trap;
	uc_context *pristine; /* without an exception that the next would make a double fault */
	unsigned long compared, raised, left;
} fi;

static const int fi_gpr[] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
			     UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

static inline void fi_on_trap(uc_engine *uc, uint32_t n, void *data)
{
	(void)data;
	fi.trap = (int)n;
	uc_emu_stop(uc);
}

static inline void fi_segment(enum seg seg, int reg, unsigned n, uint32_t base)
{
	uint16_t sel = (uint16_t)(S_FREE + 8 * n);

	set_desc(sel, make_desc(base, 0xfffff, A_DATA | 1, 0xc));
	cpu->seg[seg] = segment_unpack(sel, get_desc(sel));
	memcpy(fi.ram + AT_GDT + sel, ram(AT_GDT + sel), 8);
	uc_reg_write(fi.uc, reg, &(int){sel});
}

static inline void fi_start(void)
{
	uc_x86_mmr gdtr = {.base = AT_GDT, .limit = GDT_LIMIT};
	uc_hook hook;

	guest_setup(NULL);
	fi.ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fi.ram == MAP_FAILED || uc_open(UC_ARCH_X86, UC_MODE_32, &fi.uc) != UC_ERR_OK ||
	    uc_mem_map_ptr(fi.uc, 0, GUEST_RAM, UC_PROT_ALL, fi.ram) != UC_ERR_OK)
		ln_die("unicorn");
	memcpy(fi.ram, ram(0), GUEST_RAM);
	uc_reg_write(fi.uc, UC_X86_REG_GDTR, &gdtr);
	uc_hook_add(fi.uc, &hook, UC_HOOK_INTR, (void *)fi_on_trap, NULL, 1, 0);
	fi_segment(SEG_ES, UC_X86_REG_ES, 0, IF_AREA + 0x2000);
	fi_segment(SEG_SS, UC_X86_REG_SS, 1, IF_AREA + 0x4000);
	fi_segment(SEG_DS, UC_X86_REG_DS, 2, IF_AREA);
	fi_segment(SEG_FS, UC_X86_REG_FS, 3, IF_AREA + 0x6000);
	fi_segment(SEG_GS, UC_X86_REG_GS, 4, IF_AREA + 0x8001);
	fi.trap = -1;
	if (uc_context_alloc(fi.uc, &fi.pristine) != UC_ERR_OK ||
	    uc_context_save(fi.uc, fi.pristine) != UC_ERR_OK)
		ln_die("unicorn");
}

/* Flags that the manual leaves undefined; see interpret.h for what becomes of them. */
static inline uint32_t fi_undefined(const struct insn *i)
{
	if (i->map != 0)
		return lg_undefined_by(i);
	switch (i->opcode) {
	case 0x27: /* DAA DAS */
	case 0x2f:
		return LG_OF;
	case 0x37: /* AAA AAS */
	case 0x3f:
		return LG_OF | LG_SF | LG_ZF | LG_PF;
	case 0xd4: /* AAM AAD */
	case 0xd5:
		return LG_OF | LG_AF | LG_CF;
	default:
		return lg_undefined_by(i);
	}
}

/*
 * TCG: of F2 and F3 together it prefers F2, CPUs the last; TEST by /1 is #UD; LOCK NEG has flags of another value; ENTER of 16 bits takes all of EBP (SDM 2A ENTER: BP).
 */
static inline bool fi_lacks(const struct insn *i, const uint8_t *bytes)
{
	if (memchr(bytes, 0xf2, i->len) && memchr(bytes, 0xf3, i->len))
		return true;
	if (lg_is(i, 0, 0xc8, 0xc8))
		return i->opsize == 2;
	return lg_is(i, 0, 0xf6, 0xf7) && ((i->reg & 7) == 1 || (i->prefixes & INSN_LOCK));
}

/* A random instruction that the interpreter has. */
static inline void fi_instruction(uint8_t *bytes, struct insn *i)
{
	static const uint8_t only32[] = {0x27, 0x2f, 0x37, 0x3f, 0xd4, 0xd5, 0xd6, 0x62, 0x60, 0x61, 0x82};

	for (;;) {
		uint8_t opcode[4];
		unsigned len, n = lg_prefixes(bytes, false);

		if (lg_percent(40))
			bytes[n++] = 0x67;
		len = lg_opcode(opcode);
		if (lg_percent(30))
			opcode[0] = only32[lg_rnd(sizeof(only32))], len = 1;
		memcpy(bytes + n, opcode, len);
		for (n += len; n < 40; n++)
			bytes[n] = (uint8_t)lg_rnd(lg_percent(50) ? 256 : 16);
		if (insn_decode(i, bytes, INSN_MAX, IF_CODE, 32) > 0 && interpret_can(i) &&
		    i->seg != SEG_CS && !fi_lacks(i, bytes))
			return;
	}
}

static inline void fi_state(void)
{
	uint32_t flags = (lg_word() & LN_ARITHMETIC) | (lg_percent(20) ? LN_DF : 0) | 2;

	for (unsigned r = 0; r < 8; r++) {
		cpu->gpr[r] = lg_percent(80) ? lg_rnd(0x4000) : lg_word();
		if (lg_percent(30))
			cpu->gpr[r] |= lg_word() << 16; /* for those that use 16 bits */
	}
	if (lg_percent(90))
		cpu->gpr[REG_SP] = 0x100 + lg_rnd(0x3000);
	cpu->gpr[REG_CX] = lg_percent(70) ? lg_rnd(20) : lg_rnd(0x20000);
	cpu->eflags = flags;
	cpu->eip = IF_CODE;
	for (unsigned r = 0; r < 8; r++)
		uc_reg_write(fi.uc, fi_gpr[r], &cpu->gpr[r]);
	uc_reg_write(fi.uc, UC_X86_REG_EFLAGS, &flags);
}

static inline bool fi_interpret(const struct insn *i)
{
	for (unsigned n = 0; n < 200; n++) {
		int ret = interpret(vm, i);

		if (ret < 0 || cpu->eip != IF_CODE)
			return ret == 0;
	}
	return false;
}

static inline bool fi_differs(const char *what, uint32_t is, uint32_t should, const uint8_t *bytes,
			      const struct insn *i, uint64_t number)
{
	char text[128];

	insn_format(text, sizeof(text), bytes, i->len, IF_CODE, 32);
	fprintf(stderr, "# %llu: %s: %s is %08x, not %08x\n", (unsigned long long)number, text, what, is,
		should);
	return false;
}

/* Forgets what both did to memory. */
static inline void fi_same_memory(void)
{
	memcpy(fi.ram, ram(0), GUEST_RAM);
}

/* The instruction of this number; false when it differs, which is reported on stderr. */
static inline bool fi_run(uint64_t number)
{
	static const char *const names[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
	uint32_t flags, should, eip;
	uint8_t bytes[48];
	struct insn i;
	bool done;
	uc_err e;

	lg.random = (number + 1) * 0x9e3779b97f4a7c15ull;
	if (number % 256 == 0) {
		for (uint32_t at = 0; at < IF_AREA_SIZE; at += 4)
			poke32(IF_AREA + at, lg_word());
		fi_same_memory();
	}
	if (fi.trap >= 0)
		uc_context_restore(fi.uc, fi.pristine);
	fi_instruction(bytes, &i);
	fi_state();
	memcpy(ram(IF_CODE), bytes, INSN_MAX);
	memcpy(fi.ram + IF_CODE, bytes, INSN_MAX);
	uc_ctl_remove_cache(fi.uc, (uint64_t)IF_CODE, (uint64_t)IF_CODE + 16);
	fi.trap = -1;
	e = uc_emu_start(fi.uc, IF_CODE, IF_CODE + i.len, 0, 0);
	cpu->exc_vector = EXC_NONE;
	done = fi_interpret(&i);
	if (e == UC_ERR_INSN_INVALID)
		fi.trap = EXC_UD;
	else if (e != UC_ERR_OK) { /* beyond RAM */
		fi.trap = EXC_PF;
		fi.left++;
		cpu->exc_vector = EXC_NONE;
		fi_same_memory();
		return true;
	}
	if (!done && (cpu->exc_vector == EXC_GP || cpu->exc_vector == EXC_SS)) { /* TCG looks at no limits: 4 GiB here */
		fi.left++;
		fi.trap = EXC_GP;
		fi_same_memory();
		return true;
	}
	if (!done || fi.trap >= 0) {
		fi.raised++;
		fi_same_memory();
		return (!done && cpu->exc_vector == fi.trap) ||
		       fi_differs("the exception", cpu->exc_vector, (uint32_t)fi.trap, bytes, &i, number);
	}
	fi.compared++;
	uc_reg_read(fi.uc, UC_X86_REG_EIP, &eip);
	if (cpu->eip != eip)
		return fi_differs("eip", cpu->eip, eip, bytes, &i, number);
	for (unsigned r = 0; r < 8; r++) {
		uc_reg_read(fi.uc, fi_gpr[r], &should);
		if (cpu->gpr[r] != should)
			return fi_differs(names[r], cpu->gpr[r], should, bytes, &i, number);
	}
	uc_reg_read(fi.uc, UC_X86_REG_EFLAGS, &should);
	flags = (LN_ARITHMETIC | LN_DF) & ~fi_undefined(&i);
	if ((cpu->eflags ^ should) & flags)
		return fi_differs("eflags", cpu->eflags & flags, should & flags, bytes, &i, number);
	if (memcmp(ram(IF_AREA), fi.ram + IF_AREA, IF_AREA_SIZE) != 0) {
		fi_same_memory();
		return fi_differs("memory", 0, 0, bytes, &i, number);
	}
	return true;
}

#endif
