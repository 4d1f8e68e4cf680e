// SPDX-License-Identifier: GPL-3.0-or-later
/* Port input and output, with the TSS's permission bitmap (SDM 1 19.5) and REP (SDM 2A INS, 2B OUTS). */
#include <errno.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/io.h"

static unsigned io_size(const struct insn *insn)
{
	if (!(insn->opcode & 1))
		return 1;
	return insn->opsize == 2 ? 2 : 4;
}

static uint16_t io_port(const struct vm *vm, const struct insn *insn)
{
	return insn->opcode < 0xe8 && insn->opcode >= 0xe0 ? (uint16_t)(insn->imm & 0xff)
							   : (uint16_t)vm->vcpu.gpr[REG_DX];
}

/* May CPL > IOPL code touch these ports? */
static int io_check(struct vm *vm, uint16_t port, unsigned size)
{
	struct vcpu *v = &vm->vcpu;
	uint16_t bitmap, bits;

	if (v->cpl <= (v->eflags & FL_IOPL) >> 12)
		return 0;
	if (v->tr.limit < 0x67 || !(v->tr.attr & BIT(11)))
		return vcpu_raise(v, EXC_GP, true, 0);
	if (gmem_read(vm, gva(v->tr.base + 0x66), &bitmap, 2, 0) < 0)
		return -EFAULT;
	if ((uint32_t)bitmap + port / 8 + 1 > v->tr.limit)
		return vcpu_raise(v, EXC_GP, true, 0);
	if (gmem_read(vm, gva(v->tr.base + bitmap + port / 8), &bits, 2, 0) < 0)
		return -EFAULT;
	if (bits >> (port & 7) & ((1u << size) - 1))
		return vcpu_raise(v, EXC_GP, true, 0);
	return 0;
}

int handle_in(struct vm *vm, const struct insn *insn)
{
	unsigned size = io_size(insn);
	uint16_t port = io_port(vm, insn);
	int err = io_check(vm, port, size);

	if (err < 0)
		return err;
	register_write(&vm->vcpu, REG_AX, size, machine_in(&vm->machine, port, size, clock_now(vm)));
	io_settle(vm);
	return EMU_NEXT;
}

int handle_out(struct vm *vm, const struct insn *insn)
{
	unsigned size = io_size(insn);
	uint16_t port = io_port(vm, insn);
	int err = io_check(vm, port, size);

	if (err < 0)
		return err;
	machine_out(&vm->machine, port, size, register_read(&vm->vcpu, REG_AX, size), clock_now(vm));
	io_settle(vm);
	return EMU_NEXT;
}

static uint32_t address_mask(const struct insn *insn)
{
	return insn->adsize == 2 ? 0xffff : 0xffffffff;
}

static void advance(struct vcpu *v, enum reg reg, unsigned size, uint32_t mask)
{
	uint32_t step = v->eflags & FL_DF ? -size : size;

	v->gpr[reg] = (v->gpr[reg] & ~mask) | ((v->gpr[reg] + step) & mask);
}

/*
 * One element of INS or OUTS. With REP the instruction is left at its own EIP until the count is done, so that
 * interrupts come between elements as on hardware.
 */
static int string_io(struct vm *vm, const struct insn *insn, bool input)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t mask = address_mask(insn), value = 0;
	bool rep = insn->prefixes & (INSN_REP | INSN_REPNE);
	unsigned size = io_size(insn);
	uint16_t port = (uint16_t)v->gpr[REG_DX];
	enum reg index = input ? REG_DI : REG_SI;
	struct gva at;
	int err;

	if (rep && !(v->gpr[REG_CX] & mask))
		return EMU_NEXT;
	err = io_check(vm, port, size);
	if (!err)
		err = segment_address(vm, input ? SEG_ES : insn->seg, v->gpr[index] & mask, size,
				      input ? ACCESS_WRITE : 0, &at);
	if (!err && input) {
		/* the store may fault: find out before the device gives its byte away */
		err = gmem_probe_write(vm, at, size, privilege(vm));
		if (!err) {
			value = machine_in(&vm->machine, port, size, clock_now(vm));
			err = gmem_write(vm, at, &value, size, privilege(vm) | ACCESS_WRITE);
		}
	} else if (!err) {
		err = gmem_read(vm, at, &value, size, privilege(vm));
		if (!err)
			machine_out(&vm->machine, port, size, value, clock_now(vm));
	}
	if (err < 0)
		return err;
	io_settle(vm);
	advance(v, index, size, mask);
	if (!rep)
		return EMU_NEXT;
	v->gpr[REG_CX] = (v->gpr[REG_CX] & ~mask) | ((v->gpr[REG_CX] - 1) & mask);
	return v->gpr[REG_CX] & mask ? EMU_JUMP : EMU_NEXT;
}

int handle_ins(struct vm *vm, const struct insn *insn)
{
	return string_io(vm, insn, true);
}

int handle_outs(struct vm *vm, const struct insn *insn)
{
	return string_io(vm, insn, false);
}
