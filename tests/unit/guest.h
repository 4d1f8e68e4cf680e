/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tests of the virtual CPU: 4 MiB of guest RAM with a GDT, LDT, IDT and TSSs in it, paging off, flat segments,
 * CPL 0. Tests change what they need and look at registers, RAM and the exception raised.
 */
#ifndef TESTS_UNIT_GUEST_H
#define TESTS_UNIT_GUEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "monitor/vmm/descriptor.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/vm.h"

enum {
	AT_GDT = 0x1000, AT_IDT = 0x2000, AT_TSS = 0x3000, AT_TSS2 = 0x4000, AT_TSS16 = 0x5000, AT_LDT = 0x6000,
	STACK0 = 0x8000, STACK1 = 0x9000, STACK3 = 0xa000, TASK_STACK = 0xb000,
	GUEST_RAM = 4 << 20,
};
enum { /* selectors; free descriptors from 0x80 */
	K_CS = 0x08, K_DS = 0x10, U_CS = 0x1b, U_DS = 0x23, S_TSS = 0x28, S_TSS2 = 0x30, S_TSS16 = 0x38,
	S_LDT = 0x40, S_CONF = 0x48, S_CS1 = 0x51, S_DS1 = 0x59, S_DOWN = 0x60, S_CS16 = 0x68, S_DS16 = 0x70,
	S_ABSENT = 0x78, S_FREE = 0x80, GDT_LIMIT = 0xff,
};
/* access bytes */
enum {
	A_CODE = 0x9a, A_CODE_X = 0x98, A_CONF = 0x9e, A_DATA = 0x92, A_DATA_R = 0x90, A_DOWN = 0x96, A_USER = 0x60,
	A_TSS32 = 0x89, A_TSS16 = 0x81, A_LDT = 0x82, A_BUSY = 0x02,
	A_CALL32 = 0x8c, A_CALL16 = 0x84, A_TASK = 0x85, A_INT32 = 0x8e, A_TRAP32 = 0x8f, A_INT16 = 0x86,
};

static struct vm *vm;
static struct vcpu *cpu;
static inline void *ram(uint32_t at)
{
	return (uint8_t *)RAM_BASE + at;
}
static inline uint32_t peek32(uint32_t at)
{
	uint32_t x;

	memcpy(&x, ram(at), 4);
	return x;
}
static inline uint16_t peek16(uint32_t at)
{
	return (uint16_t)peek32(at);
}
static inline void poke32(uint32_t at, uint32_t x)
{
	memcpy(ram(at), &x, 4);
}
static inline void poke16(uint32_t at, uint16_t x)
{
	memcpy(ram(at), &x, 2);
}
static inline void poke64(uint32_t at, uint64_t x)
{
	memcpy(ram(at), &x, 8);
}

/* flags: 0xc 32-bit pages, 0x4 32-bit bytes, 0x8 and 0x0 the same for 16 bits */
static inline struct descriptor make_desc(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
	return (struct descriptor){
	    .lo = base << 16 | (limit & 0xffff),
	    .hi = (base & 0xff000000) | (uint32_t)flags << 20 | (limit & 0xf0000) | (uint32_t)access << 8 |
		  (base >> 16 & 0xff),
	};
}
static inline struct descriptor make_gate(uint16_t sel, uint32_t offset, uint8_t access, uint8_t params)
{
	return (struct descriptor){
	    .lo = (uint32_t)sel << 16 | (offset & 0xffff),
	    .hi = (offset & 0xffff0000) | (uint32_t)access << 8 | params,
	};
}
static inline void set_desc(uint16_t sel, struct descriptor d)
{
	memcpy(ram((sel & 4 ? AT_LDT : AT_GDT) + (sel & 0xfff8u)), &d, 8);
}
static inline struct descriptor get_desc(uint16_t sel)
{
	struct descriptor d;

	memcpy(&d, ram((sel & 4 ? AT_LDT : AT_GDT) + (sel & 0xfff8u)), 8);
	return d;
}
static inline void set_idt(unsigned vector, struct descriptor d)
{
	memcpy(ram(AT_IDT + vector * 8), &d, 8);
}

static inline void guest_ring(unsigned cpl, uint16_t cs, uint16_t ss, uint32_t esp)
{
	cpu->cpl = (uint8_t)cpl;
	cpu->seg[SEG_CS] = segment_unpack(cs, get_desc(cs));
	cpu->seg[SEG_SS] = segment_unpack(ss, get_desc(ss));
	cpu->gpr[REG_SP] = esp;
}
static inline void guest_user(void)
{
	unsigned i;

	guest_ring(3, U_CS, U_DS, STACK3);
	for (i = SEG_DS; i <= SEG_GS; i++)
		cpu->seg[i] = cpu->seg[SEG_SS];
	cpu->seg[SEG_ES] = cpu->seg[SEG_SS];
}

static inline void guest_tables(void)
{
	unsigned i;

	set_desc(K_CS, make_desc(0, 0xfffff, A_CODE, 0xc));
	set_desc(K_DS, make_desc(0, 0xfffff, A_DATA, 0xc));
	set_desc(U_CS, make_desc(0, 0xfffff, A_CODE | A_USER, 0xc));
	set_desc(U_DS, make_desc(0, 0xfffff, A_DATA | A_USER, 0xc));
	set_desc(S_TSS, make_desc(AT_TSS, 0x67, A_TSS32 | A_BUSY, 0));
	set_desc(S_TSS2, make_desc(AT_TSS2, 0x67, A_TSS32, 0));
	set_desc(S_TSS16, make_desc(AT_TSS16, 0x2b, A_TSS16, 0));
	set_desc(S_LDT, make_desc(AT_LDT, 0x3f, A_LDT, 0));
	set_desc(S_CONF, make_desc(0, 0xfffff, A_CONF, 0xc));
	set_desc(S_CS1, make_desc(0, 0xfffff, A_CODE | 0x20, 0xc));
	set_desc(S_DS1, make_desc(0, 0xfffff, A_DATA | 0x20, 0xc));
	set_desc(S_DOWN, make_desc(0x50000, 0xfff, A_DOWN, 0x4)); /* offsets from 0x1000 */
	set_desc(S_CS16, make_desc(0, 0xffff, A_CODE, 0));
	set_desc(S_DS16, make_desc(0, 0xffff, A_DATA, 0));
	set_desc(S_ABSENT, make_desc(0, 0xfffff, A_DATA & 0x7f, 0xc));
	for (i = 0; i < 48; i++)
		set_idt(i, make_gate(K_CS, 0x10000 + i * 16, A_INT32, 0));
	poke32(AT_TSS + 4, STACK0);
	poke32(AT_TSS + 8, K_DS);
	poke32(AT_TSS + 12, STACK1);
	poke32(AT_TSS + 16, S_DS1);
}

static inline int guest_setup(void **state)
{
	unsigned i;

	(void)state;
	if (mmap((void *)RAM_BASE, GUEST_RAM, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -1;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -1;
	vm->vmm = calloc(1, sizeof(*vm->vmm)); /* no code pages */
	if (!vm->vmm)
		return -1;
	vm->cfg.notify_fd = -1;
	vm->cfg.timer_fd = -1;
	vm->cfg.ram_size = GUEST_RAM;
	cpu = &vm->vcpu;
	cpu->exc_vector = EXC_NONE;
	cpu->cr0 = CR0_PE | CR0_ET;
	cpu->eflags = FL_FIXED;
	cpu->eip = 0x1234;
	cpu->gdtr = (struct table_register){AT_GDT, GDT_LIMIT};
	cpu->idtr = (struct table_register){AT_IDT, 48 * 8 - 1};
	guest_tables();
	guest_ring(0, K_CS, K_DS, STACK0 - 0x100);
	for (i = SEG_DS; i <= SEG_GS; i++)
		cpu->seg[i] = cpu->seg[SEG_SS];
	cpu->seg[SEG_ES] = cpu->seg[SEG_SS];
	cpu->tr = segment_unpack(S_TSS, get_desc(S_TSS));
	cpu->ldtr = segment_unpack(S_LDT, get_desc(S_LDT));
	return 0;
}

static inline int guest_teardown(void **state)
{
	(void)state;
	free(vm->vmm);
	free(vm);
	return munmap((void *)RAM_BASE, GUEST_RAM);
}

/* The call failed with exactly this exception and left CS:EIP, CPL and the stack pointer alone. */
#define assert_raised(call, vector, error)                                                                            \
	do {                                                                                                           \
		const struct vcpu before_ = *cpu;                                                                      \
		assert_int_equal((call), -EFAULT);                                                                     \
		assert_int_equal(cpu->exc_vector, (vector));                                                           \
		assert_int_equal(cpu->exc_error, (error));                                                             \
		assert_int_equal(cpu->eip, before_.eip);                                                               \
		assert_int_equal(cpu->cpl, before_.cpl);                                                               \
		assert_memory_equal(cpu->seg, before_.seg, sizeof(cpu->seg));                                          \
		assert_memory_equal(cpu->gpr, before_.gpr, sizeof(cpu->gpr));                                          \
		assert_int_equal(cpu->eflags, before_.eflags);                                                         \
		cpu->exc_vector = EXC_NONE;                                                                            \
	} while (0)

#define guest_test(f) cmocka_unit_test_setup_teardown(f, guest_setup, guest_teardown)

#endif
