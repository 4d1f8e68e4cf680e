// SPDX-License-Identifier: GPL-3.0-or-later
/* See trace.h. No libc: the guest's vector state is live. */
#include "monitor/vmm/trace.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/worker.h"

struct line {
	char text[256];
	unsigned len;
};

static void put(struct line *l, const char *s)
{
	while (*s && l->len < sizeof(l->text))
		l->text[l->len++] = *s++;
}

static void put_hex(struct line *l, const char *name, uint64_t value)
{
	char digits[17];
	unsigned n = sizeof(digits) - 1;

	digits[n] = 0;
	do {
		digits[--n] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	put(l, name);
	put(l, digits + n);
}

void trace_record(struct vm *vm, const char *what)
{
	static const char *const names[] = {" eax=", " ecx=", " edx=", " ebx=", " esp=", " ebp=", " esi=", " edi="};
	const struct vcpu *v = &vm->vcpu;
	const struct world *w = &vm->vmm->world;
	struct line l = {.len = 0};

	put_hex(&l, "", clock_now(vm));
	put_hex(&l, " w", worker_index());
	put(&l, " ");
	put(&l, what);
	if (what[0] == 'p')
		put_hex(&l, " site ", w->site);
	if (what[0] == 's') {
		put_hex(&l, " trap ", w->trapno);
		put_hex(&l, "/", w->error);
		put_hex(&l, " at ", w->fault_address);
		put_hex(&l, " raw ", w->eip);
	}
	if (v->exc_vector != EXC_NONE) {
		put_hex(&l, " exception ", v->exc_vector);
		put_hex(&l, "/", v->exc_error);
		put_hex(&l, " cr2 ", v->exc_cr2);
	}
	put_hex(&l, " cpl", v->cpl);
	put_hex(&l, " eip=", v->eip);
	put_hex(&l, " fl=", v->eflags);
	for (unsigned r = 0; r < 8; r++)
		put_hex(&l, names[r], v->gpr[r]);
	put_hex(&l, " cr3=", v->cr3);
	put(&l, "\n");
	host_syscall3(SYS_write, vm->cfg.trace_fd, (long)l.text, l.len);
}

void trace_record_map(struct vm *vm, const char *what, uint64_t at, uint64_t size)
{
	struct line l = {.len = 0};

	put_hex(&l, "", clock_now(vm));
	put_hex(&l, " w", worker_index());
	put(&l, " ");
	put(&l, what);
	put_hex(&l, " ", at);
	put_hex(&l, " +", size);
	put(&l, "\n");
	host_syscall3(SYS_write, vm->cfg.trace_fd, (long)l.text, l.len);
}
