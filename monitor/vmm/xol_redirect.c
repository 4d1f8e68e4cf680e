// SPDX-License-Identifier: GPL-3.0-or-later
/* See xol.h: an instruction runs on a copy of its memory operand, which then goes back to where it belongs. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/x87.h"
#include "monitor/vmm/xol_internal.h"

#define BOUNCE_LEN 4032 /* bytes of the longest copy: on the bounce page, aligned to 64 as the operand is */

/* The instruction with its ModRM operand replaced by DS:[disp32]. Returns the new length. */
static unsigned aim_at(const struct insn *insn, const uint8_t *bytes, uint32_t address, uint8_t *out)
{
	unsigned n = 0, tail = insn->imm_len ? insn->imm_off : insn->len;

	for (unsigned i = 0; i < insn->modrm_off; i++) {
		bool legacy = i + 1 < insn->modrm_off && insn->map < 0x10;
		uint8_t b = bytes[i];

		/* drop segment and address-size prefixes; DS is the flat one for this instruction */
		if (legacy &&
		    (b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65 || b == 0x67))
			continue;
		out[n++] = b;
	}
	out[n++] = (uint8_t)((insn->reg & 7) << 3 | 5);
	put32(out + n, address);
	n += 4;
	for (unsigned i = tail; i < insn->len; i++)
		out[n++] = bytes[i];
	return n;
}

/*
 * Bytes to copy for the operand at `at` when the instruction does not say (XSAVE and kin): as far as the longest one
 * reaches, but not into a next page that the guest may not read. (An operand that does reach into one should be #PF, and
 * is cut off here.)
 */
static uint32_t operand_reach(struct vm *vm, struct gva at)
{
	uint32_t rest = PAGE_SIZE - (at.a & (PAGE_SIZE - 1));
	struct walk w;

	if (rest >= BOUNCE_LEN || paging_walk(vm, gva(at.a + rest), privilege(vm), &w) == 0)
		return BOUNCE_LEN;
	return rest;
}

/* Where the operand is, how many bytes of it there are to copy; what its access would raise is raised. */
static int find_operand(struct vm *vm, const struct insn *insn, const uint8_t *bytes, struct gva *at,
			uint32_t *len)
{
	unsigned size;
	bool written;
	int err;

	world_fpu_guard(); /* the decoder may use vector registers */
	insn_memory(insn, bytes, &size, &written);
	if (size > BOUNCE_LEN)
		size = 0;
	err = operand_address(vm, insn, 0, size ? size : 1, written ? ACCESS_WRITE : 0, at);
	if (err == 0 && size && written)
		err = gmem_probe_write(vm, *at, size, privilege(vm));
	*len = size ? size : operand_reach(vm, *at);
	return err;
}

static int write_back(struct vm *vm, struct gva at, const uint8_t *before, const uint8_t *after, uint32_t len)
{
	uint32_t from = 0, to = len;

	while (from < to && before[from] == after[from])
		from++;
	while (to > from && before[to - 1] == after[to - 1])
		to--;
	return from == to
		   ? 0
		   : gmem_write(vm, gva(at.a + from), after + from, to - from, privilege(vm) | ACCESS_WRITE);
}

static int redirect(struct vm *vm)
{
	uint8_t bytes[INSN_MAX], aimed[INSN_MAX + 8], before[BOUNCE_LEN], *bounce;
	uint32_t len, operand;
	struct insn insn;
	struct gva at;
	int err = emulate_fetch(vm, &insn, bytes);

	if (err < 0)
		return err;
	if (insn_is_sensitive(&insn) || insn.flow != FLOW_NEXT)
		return xol_execute(vm, &insn, bytes);
	if (interpret_can(&insn))
		return interpret(vm, &insn);
	if (!insn.has_mem) {
		vm_stop(vm, STOP_GUEST, vm->vcpu.eip,
			"an implicit operand at an address that the host cannot map");
		return -ECANCELED;
	}
	err = find_operand(vm, &insn, bytes, &at, &len);
	if (err < 0)
		return err;
	if (gmem_read(vm, at, before, len, privilege(vm)) < 0)
		return -EFAULT;
	if (insn_stores_x87_pointers(&insn))
		x87_settle(vm);
	bounce = xol_bounce_bytes(vm) + (at.a & 63);
	operand = vm->cfg.hole_base + ABI_BOUNCE_PAGE + (at.a & 63);
	mem_copy(bounce, before, len);
	if (vm_long(vm))
		err = xol_run_long(vm, &insn, bytes, operand);
	else
		err = xol_run_copy(vm, &insn, aimed, aim_at(&insn, bytes, operand, aimed), true);
	return err < 0 ? err : write_back(vm, at, before, bounce, len);
}

int xol_redirect(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	int err;

	if (st->redirecting) { /* PUSH m, with its stack out of the host's reach as well */
		vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "two operands at addresses that the host cannot map");
		return -ECANCELED;
	}
	st->redirecting = 1;
	err = redirect(vm);
	st->redirecting = 0;
	return err;
}
