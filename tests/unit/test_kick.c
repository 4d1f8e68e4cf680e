// SPDX-License-Identifier: GPL-3.0-or-later
/* The protocols between VMX and workers, and the clock that both go by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmx/calibrate.h"
#include "monitor/vmx/kick.h"
#include "monitor/vmx/memory.h"

#define SECOND 1000000000ull

static struct vm *vm;
static struct zygote z;
static int timer;

static bool armed(void)
{
	struct itimerspec t;

	assert_int_equal(timerfd_gettime(timer, &t), 0);
	return t.it_value.tv_sec || t.it_value.tv_nsec;
}

static int reset(void **state)
{
	static const struct itimerspec off;

	(void)state;
	timerfd_settime(timer, 0, &off, NULL);
	atomic_store(&vm->shared.events, 0);
	atomic_store(&vm->shared.halt_futex, 0);
	atomic_store(&vm->shared.owner, 0);
	atomic_store(&vm->shared.deadline_ns, UINT64_MAX);
	atomic_store(&vm->shared.armed_ns, 0);
	vm_vcpu_page(vm)->pending = 0;
	return 0;
}

static void no_deadline(void **state)
{
	(void)state;
	kick_timer(vm, &z, timer);
	assert_false(armed());
	assert_true(atomic_load(&vm->shared.armed_ns) == UINT64_MAX);
	assert_int_equal(atomic_load(&vm->shared.events), 0);
}

static void future_deadline(void **state)
{
	uint64_t deadline = clock_now(vm) + 100 * SECOND;

	(void)state;
	atomic_store(&vm->shared.deadline_ns, deadline);
	kick_timer(vm, &z, timer);
	assert_true(armed());
	assert_true(atomic_load(&vm->shared.armed_ns) == deadline);
	assert_int_equal(atomic_load(&vm->shared.events), 0);
	assert_int_equal(vm_vcpu_page(vm)->pending, 0);
}

/* After the event, any new deadline must be "earlier" than what is armed, or the worker would not tell. */
static void past_deadline(void **state)
{
	(void)state;
	atomic_store(&vm->shared.deadline_ns, clock_now(vm));
	kick_timer(vm, &z, timer);
	assert_int_equal(atomic_load(&vm->shared.events), VM_EVENT_TIMER);
	assert_int_equal(vm_vcpu_page(vm)->pending, 0x200);
	assert_true(atomic_load(&vm->shared.armed_ns) == UINT64_MAX);
	/* Not served yet: nothing is posted twice. */
	vm_vcpu_page(vm)->pending = 0;
	kick_timer(vm, &z, timer);
	assert_int_equal(vm_vcpu_page(vm)->pending, 0);
}

static void absurd_deadlines(void **state)
{
	static const uint64_t absurd[] = {UINT64_MAX - 1, 1ull << 63, 86400 * 365 * SECOND};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(absurd); i++) {
		struct itimerspec t;

		atomic_store(&vm->shared.deadline_ns, absurd[i]);
		kick_timer(vm, &z, timer);
		assert_int_equal(timerfd_gettime(timer, &t), 0);
		assert_in_range(t.it_value.tv_sec, 3590, 3600);
	}
}

static void halted_worker_is_woken_not_signalled(void **state)
{
	(void)state;
	atomic_store(&vm->shared.halt_futex, 1);
	kick_post(vm, &z, VM_EVENT_CONSOLE);
	assert_int_equal(atomic_load(&vm->shared.halt_futex), 0);
	assert_int_equal(atomic_load(&vm->shared.events), VM_EVENT_CONSOLE);
}

static void hostile_owner(void **state)
{
	static const uint32_t owners[] = {WORKERS_MAX, WORKERS_MAX + 1, 1u << 31, UINT32_MAX,
					  5 /* not started */};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
		atomic_store(&vm->shared.owner, owners[i]);
		kick_post(vm, &z, VM_EVENT_CONSOLE);
	}
}

static void scale_is_exact(void **state)
{
	static const uint64_t hz[] = {1000000,	  999999999,  1000000000, 1000000001, 2000000000, 2494000000,
				      2999999999, 3000000000, 3693000000, 5800000000, 1ull << 33};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hz); i++) {
		struct vm_config cfg = {.tsc_start = 12345};
		uint64_t ns;

		clock_scale(hz[i], &cfg.tsc_to_ns_mul, &cfg.tsc_shift);
		assert_true(cfg.tsc_to_ns_mul >> 31);
		ns = clock_tsc_to_ns(&cfg, 12345 + hz[i] * 1000); /* 1000 s */
		assert_in_range(ns, 1000 * SECOND - 1000, 1000 * SECOND);
	}
}

static void calibration_runs_with_the_host(void **state)
{
	struct clock_sample a = clock_sample(), b;
	struct vm_config cfg = {0};
	uint64_t guest_a, guest_b;

	(void)state;
	clock_calibrate(&cfg, a);
	a = clock_sample();
	usleep(20000);
	b = clock_sample();
	guest_a = clock_tsc_to_ns(&cfg, a.tsc);
	guest_b = clock_tsc_to_ns(&cfg, b.tsc);
	/* Far coarser than it is, for a loaded machine: 1 in 100. */
	assert_in_range(guest_b - guest_a, (b.ns - a.ns) / 100 * 99, (b.ns - a.ns) / 100 * 101);
	assert_true(cfg.epoch_ns > 1600000000 * SECOND);
}

static int setup(void **state)
{
	struct diag d = {""};

	(void)state;
	vm = calloc(1, sizeof(*vm));
	vm->cfg.ram_size = 16 << 20;
	memory_layout(&vm->cfg);
	clock_calibrate(&vm->cfg, clock_sample());
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		z.worker_pidfd[i] = -1;
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	return memory_map_ram(&vm->cfg, &d);
}

static int teardown(void **state)
{
	(void)state;
	free(vm);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(no_deadline, reset),
	    cmocka_unit_test_setup(future_deadline, reset),
	    cmocka_unit_test_setup(past_deadline, reset),
	    cmocka_unit_test_setup(absurd_deadlines, reset),
	    cmocka_unit_test_setup(halted_worker_is_woken_not_signalled, reset),
	    cmocka_unit_test_setup(hostile_owner, reset),
	    cmocka_unit_test(scale_is_exact),
	    cmocka_unit_test(calibration_runs_with_the_host),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
