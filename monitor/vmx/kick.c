// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.5: Events and deadlines
 *
 * The protocol has no lock, for the other side may be hostile:
 *
 *   event     the VMX sets `events` and `pending`, fences, reads `owner` and wakes or signals that worker. A
 *             worker that takes the baton publishes itself as owner, fences, reads `pending`. One of the two
 *             sees the other.
 *   deadline  the worker stores `deadline_ns`, fences, reads `armed_ns`, and sets the timer if it wants to be earlier.
 *             The VMX, at the timer's end, stores `armed_ns`, sets the timer, fences, reads `deadline_ns` again: what
 *             the worker stores later it also sets later. A worker that halts disarms the timer and times itself.
 */
#include "monitor/vmx/kick.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "monitor/vmm/clock.h"

#define PENDING 0x200 /* abi.h: VCPU_PENDING */
#define NS_PER_S 1000000000ull

/* Deadlines further away are looked at again on the way; keeps hostile values away from time_t. */
#define FAR_NS (3600 * NS_PER_S)

static void kick(struct vm *vm, const struct zygote *z)
{
	uint32_t owner;

	__atomic_store_n(&vm_vcpu_page(vm)->pending, PENDING, __ATOMIC_SEQ_CST);
	atomic_thread_fence(memory_order_seq_cst);
	/* Halted: the wake alone will do. Otherwise it runs guest code, or is about to: interrupt it. */
	if (atomic_exchange(&vm->shared.halt_futex, 0) == 1) {
		syscall(SYS_futex, &vm->shared.halt_futex, FUTEX_WAKE, 1, NULL, NULL, 0);
		return;
	}
	owner = atomic_load(&vm->shared.owner);
	if (owner < WORKERS_MAX && z->worker_pidfd[owner] >= 0)
		syscall(SYS_pidfd_send_signal, z->worker_pidfd[owner], SIGUSR1, NULL, 0);
}

void kick_post(struct vm *vm, const struct zygote *z, uint32_t events)
{
	atomic_fetch_or(&vm->shared.events, events);
	kick(vm, z);
}

static void arm(int timer_fd, uint64_t in_ns)
{
	struct itimerspec t = {.it_value = {(time_t)(in_ns / NS_PER_S), (long)(in_ns % NS_PER_S)}};

	timerfd_settime(timer_fd, 0, &t, NULL);
}

void kick_timer(struct vm *vm, const struct zygote *z, int timer_fd)
{
	uint64_t deadline = atomic_load(&vm->shared.deadline_ns), now;

	/* A few rounds settle it with an honest worker; a hostile one harms its own clock only. */
	for (int i = 0; i < 8; i++) {
		uint64_t again;

		now = clock_now(vm);
		/* Once posted, no timer runs for this deadline: whatever the worker wants next is earlier than never. */
		atomic_store(&vm->shared.armed_ns, deadline <= now ? UINT64_MAX : deadline);
		if (deadline > now && deadline != UINT64_MAX)
			arm(timer_fd, deadline - now < FAR_NS ? deadline - now : FAR_NS);
		atomic_thread_fence(memory_order_seq_cst);
		again = atomic_load(&vm->shared.deadline_ns);
		if (again == deadline)
			break;
		deadline = again;
	}
	if (deadline <= now && !(atomic_load(&vm->shared.events) & VM_EVENT_TIMER))
		kick_post(vm, z, VM_EVENT_TIMER);
}
