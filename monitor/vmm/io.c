// SPDX-License-Identifier: GPL-3.0-or-later
/* See io.h. The other side of each atomic here is vmx/: "publish, fence, read" in both directions. */
#include "monitor/vmm/io.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/host.h"

void io_notify(void *vm)
{
	host_notify(((struct vm *)vm)->cfg.notify_fd);
}

static void power(struct vm *vm)
{
	switch (machine_request(&vm->machine)) {
	case MACHINE_RUN:
		break;
	case MACHINE_RESET:
		vm_stop(vm, STOP_RESET, 0, "the guest asked for a reset");
		break;
	case MACHINE_POWEROFF:
		vm_stop(vm, STOP_POWEROFF, 0, "power-off");
		break;
	case MACHINE_DEBUG_EXIT:
		vm_stop(vm, machine_exit_value(&vm->machine) ? STOP_CRASH : STOP_POWEROFF,
			machine_exit_value(&vm->machine), "the guest wrote to the debug exit port");
		break;
	}
}

void io_settle(struct vm *vm)
{
	uint64_t deadline = machine_deadline(&vm->machine, clock_now(vm));

	if (deadline != atomic_load_explicit(&vm->shared.deadline_ns, memory_order_relaxed)) {
		atomic_store(&vm->shared.deadline_ns, deadline);
		if (deadline < atomic_load(&vm->shared.armed_ns))
			host_notify(vm->cfg.notify_fd);
	}
	if (machine_intr(&vm->machine))
		vm_vcpu_page(vm)->pending = FL_IF;
	power(vm);
}

void io_service(struct vm *vm)
{
	_Atomic uint32_t *pending = (_Atomic uint32_t *)&vm_vcpu_page(vm)->pending;

	if (!atomic_load_explicit(pending, memory_order_relaxed))
		return;
	atomic_store(pending, 0);
	if (atomic_exchange(&vm->shared.events, 0))
		machine_poll(&vm->machine, clock_now(vm));
	io_settle(vm);
}

void io_halt(struct vm *vm)
{
	atomic_store(&vm->shared.halt_futex, 1);
	while (!atomic_load(&vm->shared.events) && !atomic_load(&vm->shared.stop)) {
		vm->stats.host_futex++;
		host_futex_wait(&vm->shared.halt_futex, 1, NULL);
		atomic_store(&vm->shared.halt_futex, 1);
	}
	atomic_store(&vm->shared.halt_futex, 0);
}
