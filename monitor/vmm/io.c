// SPDX-License-Identifier: GPL-3.0-or-later
/* See io.h. The other side of each atomic here is vmx/: "publish, fence, read" in both directions. */
#include "monitor/vmm/io.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/host.h"

#define NS_PER_S 1000000000u

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

/* A deadline that has passed since is 1 ns away: 0 would disarm. */
static uint64_t until(const struct vm *vm, uint64_t deadline)
{
	uint64_t now = clock_now(vm);

	return deadline > now ? deadline - now : 1;
}

/* The timer interrupts guest code by way of the VMX, which sleeps until it expires. */
static void arm(struct vm *vm, uint64_t deadline)
{
	atomic_store(&vm->shared.armed_ns, deadline);
	host_timer_set(vm->cfg.timer_fd, until(vm, deadline));
}

void io_settle(struct vm *vm)
{
	uint64_t deadline = machine_deadline(&vm->machine, clock_now(vm));

	if (deadline != atomic_load_explicit(&vm->shared.deadline_ns, memory_order_relaxed)) {
		atomic_store(&vm->shared.deadline_ns, deadline);
		if (deadline < atomic_load(&vm->shared.armed_ns))
			arm(vm, deadline);
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

/*
 * Wait for the VMX's wake or for the deadline. -ETIMEDOUT may come early by what the host's two clocks differ: the caller
 * looks again.
 */
static void sleep_until(struct vm *vm, uint64_t deadline)
{
	uint64_t in_ns = until(vm, deadline);
	struct timespec t = {(time_t)(in_ns / NS_PER_S), (long)(in_ns % NS_PER_S)};

	vm->stats.host_futex++;
	host_futex_wait(&vm->shared.halt_futex, 1, deadline == NO_DEADLINE ? NULL : &t);
	atomic_store(&vm->shared.halt_futex, 1);
}

/*
 * A halted worker times its own sleep, so that a tick of an idle guest wakes one process, not two. The VMX may be at the
 * end of the timer that is disarmed here: then it posts an event that somebody served already, which does no harm.
 */
void io_halt(struct vm *vm)
{
	uint64_t deadline = atomic_load(&vm->shared.deadline_ns);

	atomic_store(&vm->shared.halt_futex, 1);
	if (atomic_exchange(&vm->shared.armed_ns, NO_DEADLINE) != NO_DEADLINE)
		host_timer_set(vm->cfg.timer_fd, 0);
	while (!atomic_load(&vm->shared.events) && !atomic_load(&vm->shared.stop)) {
		if (clock_now(vm) >= deadline) {
			atomic_fetch_or(&vm->shared.events, VM_EVENT_TIMER);
			vm_vcpu_page(vm)->pending = FL_IF;
			break;
		}
		sleep_until(vm, deadline);
	}
	atomic_store(&vm->shared.halt_futex, 0);
}
