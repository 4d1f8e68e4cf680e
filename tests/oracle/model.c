// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The same scenarios through the monitor's logic, compared with the outcomes that guest.c recorded.
 * Usage: model OUTCOMES FIRST COUNT. Exit status 1 and a line a difference when there are any.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "monitor/vmm/descriptor.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/vm.h"
#include "tests/oracle/scenario.h"

#define MEM ((uint8_t *)RAM_BASE)
#define RAM_SIZE (2u << 20)
#define FLAGS_COMPARED (FL_HARDWARE | FL_IF | FL_IOPL | FL_NT | FL_AC)

static const char *const op_names[] = {"iret", "retf", "jmp", "call", "int", "mov", "lldt", "ltr", "lar", "lsl", "verr", "verw"};
static struct vm *vm;

static struct segment load(uint16_t sel)
{
	struct descriptor d;

	if (sel_null(sel))
		return (struct segment){.sel = sel};
	memcpy(&d, MEM + O_GDT + (sel & 0xfff8u), 8);
	return segment_unpack(sel, d);
}

static void start(const struct scenario *s)
{
	struct vcpu *v = &vm->vcpu;
	unsigned i;

	memset(v, 0, sizeof(*v));
	v->exc_vector = EXC_NONE;
	v->cr0 = CR0_PE;
	v->cpl = (uint8_t)s->cpl;
	v->eip = O_OP;
	v->eflags = s->eflags;
	for (i = 0; i < 8; i++)
		v->gpr[i] = s->sel;
	v->gpr[REG_SP] = s->esp;
	for (i = 0; i < 6; i++)
		v->seg[i] = load(s->sreg[i]);
	v->tr = load(G_SUBJECT << 3);
	v->ldtr = load(G_LDT << 3);
	v->gdtr = (struct table_register){O_GDT, G_END * 8 - 1};
	v->idtr = (struct table_register){O_IDT, (V_SUBJECT + 1) * 8 - 1};
}

static int query(struct vcpu *v, int ok, uint32_t value, bool has_value)
{
	if (ok < 0)
		return ok;
	v->eflags = (v->eflags & ~FL_ZF) | (ok ? FL_ZF : 0);
	if (ok && has_value)
		v->gpr[REG_AX] = value;
	return 0;
}

static int run(const struct scenario *s)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t next = O_OP + s->op_len, value = 0;
	uint16_t sel = (uint16_t)s->sel;
	int err;

	switch (s->op) {
	case O_IRET:
		return far_iret(vm, s->opsize, next);
	case O_RETF:
		return far_ret(vm, s->opsize, (uint16_t)s->imm);
	case O_JMP:
		return far_jmp(vm, sel, s->offset, next);
	case O_CALL:
		return far_call(vm, sel, s->offset, next, s->opsize);
	case O_INT:
		return interrupt_enter(vm, V_SUBJECT, EVENT_SOFTWARE, false, 0, next);
	case O_MOV:
		err = segment_load(vm, (enum seg)s->seg, sel);
		break;
	case O_LLDT:
		err = segment_load_ldtr(vm, sel);
		break;
	case O_LTR:
		err = segment_load_tr(vm, sel);
		break;
	case O_LAR:
		err = segment_query_lar(vm, sel, &value);
		err = query(v, err, value, true);
		break;
	case O_LSL:
		err = segment_query_lsl(vm, sel, &value);
		err = query(v, err, value, true);
		break;
	default:
		err = query(v, segment_query_ver(vm, sel, s->op == O_VERW), 0, false);
		break;
	}
	if (err == 0)
		v->eip = next;
	return err;
}

static void outcome(const struct scenario *s, int err, struct outcome *o)
{
	const struct vcpu *v = &vm->vcpu;
	bool narrow = v->tr.base == O_TSS16, queries = s->op >= O_LAR;
	unsigned i;

	memset(o, 0, sizeof(*o));
	o->vector = err < 0 ? v->exc_vector : CAPTURE_LANDED;
	o->error = err < 0 ? v->exc_error : 0;
	o->tr = v->tr.sel;
	o->eip = v->eip + (err < 0 ? 0 : 2); /* the landing's INT */
	o->eflags = v->eflags & FLAGS_COMPARED;
	o->eax = queries ? v->gpr[REG_AX] : 0;
	o->esp = v->gpr[REG_SP];
	for (i = 0; i < (narrow ? 4 : 6); i++)
		o->sreg[i] = v->seg[i].sel;
	if (narrow) {
		o->eip &= 0xffff;
		o->esp &= 0xffff;
		o->eflags &= 0xffff;
	}
	o->memory = o_memory_hash(MEM);
	o->subject = v->tr.base == O_SUBJECT ? 0 : o_hash(MEM, O_SUBJECT, O_SUBJECT + 0x68, 1);
}

/* Where QEMU is known to be wrong (scenario.h), take our outcome for its own. */
static void forgive(const struct scenario *s, struct outcome *want, const struct outcome *got)
{
	struct segment cs;

	if ((want->vector == EXC_TS || want->vector == EXC_NP) && got->vector == EXC_GP && got->error == want->error &&
	    ((got->error & 4) || got->error >= G_END * 8))
		want->vector = EXC_GP;
	if (want->vector != CAPTURE_LANDED && want->tr != G_SUBJECT << 3 && (want->eip & ~0xfffu) == (got->eip & ~0xfffu))
		want->eip = got->eip;
	if ((want->vector == EXC_NP || want->vector == EXC_TS) && got->vector == EXC_SS && got->error == want->error)
		want->vector = EXC_SS;
	if (want->vector == EXC_TS && want->tr != G_SUBJECT << 3 && want->error == (want->sreg[SEG_CS] & ~3u) &&
	    desc_conforming(vm->vcpu.seg[SEG_CS].attr))
		*want = *got;
	if (s->op == O_JMP && want->vector == EXC_GP && got->vector == EXC_NP)
		want->vector = EXC_NP;
	if (s->op == O_CALL && got->vector == CAPTURE_LANDED && desc_conforming(vm->vcpu.seg[SEG_CS].attr) &&
	    want->sreg[SEG_CS] == ((got->sreg[SEG_CS] & ~3u) | desc_dpl(vm->vcpu.seg[SEG_CS].attr)))
		want->sreg[SEG_CS] = got->sreg[SEG_CS];
	if (got->vector != EXC_GP || got->error != 0)
		return;
	if ((s->op == O_JMP || s->op == O_CALL) && want->vector == EXC_GP) {
		want->error = 0;
		want->memory = got->memory;
	} else if (want->vector == CAPTURE_LANDED && want->sreg[SEG_CS] < 0x80) {
		struct descriptor d;

		memcpy(&d, MEM + (want->sreg[SEG_CS] & 4 ? O_LDT : O_GDT) + (want->sreg[SEG_CS] & 0xfff8u), 8);
		cs = segment_unpack(want->sreg[SEG_CS], d);
		if (want->eip - 2 > cs.limit)
			*want = *got;
	}
}

static void print(const char *who, const struct outcome *o)
{
	printf("  %s vector %2u error %04x tr %02x eip %08x flags %08x eax %08x esp %08x  es %02x cs %02x ss %02x ds %02x "
	       "fs %02x gs %02x  mem %08x subject %08x\n",
	       who, o->vector, o->error, o->tr, o->eip, o->eflags, o->eax, o->esp, o->sreg[0], o->sreg[1], o->sreg[2],
	       o->sreg[3], o->sreg[4], o->sreg[5], o->memory, o->subject);
}

static void print_desc(const char *what, uint32_t at)
{
	printf("  %s %08x:%08x\n", what, o_get(MEM, at + 4, 4), o_get(MEM, at, 4));
}

int main(int argc, char **argv)
{
	unsigned long first, count, n, landed = 0, bad = 0, skipped = 0;
	FILE *f = argc == 4 ? fopen(argv[1], "rb") : NULL;
	unsigned per_op[O_OPS][2] = {{0}};
	struct outcome want, got;
	struct scenario s;
	unsigned i;

	if (!f || mmap(MEM, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return 2;
	first = strtoul(argv[2], NULL, 0);
	count = strtoul(argv[3], NULL, 0);
	vm = calloc(1, sizeof(*vm));
	vm->vmm = calloc(1, sizeof(*vm->vmm));
	vm->cfg.ram_size = RAM_SIZE;
	vm->cfg.notify_fd = -1;
	vm->cfg.timer_fd = -1;
	for (n = first; n < first + count; n++) {
		if (fread(&want, sizeof(want), 1, f) != 1) {
			printf("outcomes end before scenario %lu\n", n);
			return 2;
		}
		o_build(MEM, (uint32_t)n, &s);
		for (i = 0; i < 0x68 - 0x20; i += 4) /* the dynamic part, as guest.c writes it */
			o_put(MEM, O_SUBJECT + 0x20 + i, 0, 4);
		o_put(MEM, O_SUBJECT + 0x20, O_OP, 4);
		o_put(MEM, O_SUBJECT + 0x24, s.eflags, 4);
		for (i = 0; i < 8; i++)
			o_put(MEM, O_SUBJECT + 0x28 + i * 4, s.sel, 4);
		o_put(MEM, O_SUBJECT + 0x38, s.esp, 4);
		for (i = 0; i < 6; i++)
			o_put(MEM, O_SUBJECT + 0x48 + i * 4, s.sreg[i], 4);
		o_put(MEM, O_SUBJECT + 0x60, G_LDT << 3, 4);
		start(&s);
		vm->shared.stop = STOP_NONE;
		outcome(&s, run(&s), &got);
		if (vm->shared.stop != STOP_NONE) {
			skipped++;
			continue;
		}
		want.eflags &= FLAGS_COMPARED;
		if (s.op < O_LAR)
			want.eax = 0;
		forgive(&s, &want, &got);
		landed += got.vector == CAPTURE_LANDED;
		per_op[s.op][got.vector != CAPTURE_LANDED]++;
		if (memcmp(&want, &got, sizeof(got)) == 0)
			continue;
		if (++bad > 20)
			continue;
		printf("scenario %lu: cpl %u %s%s sel %04x offset %x imm %u seg %u ss %02x esp %x flags %x\n", n, s.cpl,
		       op_names[s.op], s.opsize == 2 ? "16" : "", s.sel, s.offset, s.imm, s.seg, s.sreg[2], s.esp, s.eflags);
		print("qemu   ", &want);
		print("monitor", &got);
		o_build(MEM, (uint32_t)n, &s);
		if ((s.sel | 7) < G_FREE_END * 8)
			print_desc("sel ", (s.sel & 4 ? O_LDT : O_GDT) + (s.sel & 0xfff8));
		print_desc("idt ", O_IDT + V_SUBJECT * 8);
		printf("  stack %x %x %x %x %x %x\n", o_get(MEM, s.esp, 4), o_get(MEM, s.esp + 4, 4), o_get(MEM, s.esp + 8, 4),
		       o_get(MEM, s.esp + 12, 4), o_get(MEM, s.esp + 16, 4), o_get(MEM, s.esp + 20, 4));
	}
	for (i = 0; i < O_OPS; i++)
		printf("%-5s %6u landed %6u faulted\n", op_names[i], per_op[i][0], per_op[i][1]);
	printf("%lu scenarios: %lu landed, %lu skipped (documented limits), %lu differ\n", count, landed, skipped, bad);
	return bad ? 1 : 0;
}
