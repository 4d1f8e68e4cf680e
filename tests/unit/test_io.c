// SPDX-License-Identifier: GPL-3.0-or-later
/* The machine's deadline becomes a timer of the host, and a halted worker wakes by itself. Nobody plays the VMX here. */
#include "tests/unit/guest.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmm/io.h"
#include "monitor/vmx/calibrate.h"

enum { PIT_CH0 = 0x40, PIT_CONTROL = 0x43, CH0_ONE_SHOT = 0x38, MS = 1000000 };

static int setup(void **state)
{
	static const struct machine_config none;

	if (guest_setup(state))
		return -1;
	vm->cfg.vcpu_off = 2 << 20; /* away from the guest's tables */
	clock_calibrate(&vm->cfg, clock_sample());
	vm->cfg.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	atomic_store(&vm->shared.deadline_ns, NO_DEADLINE);
	atomic_store(&vm->shared.armed_ns, NO_DEADLINE);
	return machine_new(&vm->machine, &none);
}

static int teardown(void **state)
{
	close(vm->cfg.timer_fd);
	return guest_teardown(state);
}

/* As Linux programs its clock event: mode 4, then the count. */
static void one_shot(unsigned ticks)
{
	machine_out(&vm->machine, PIT_CONTROL, 1, CH0_ONE_SHOT, clock_now(vm));
	io_settle(vm);
	machine_out(&vm->machine, PIT_CH0, 1, ticks & 0xff, clock_now(vm));
	io_settle(vm);
	machine_out(&vm->machine, PIT_CH0, 1, ticks >> 8, clock_now(vm));
	io_settle(vm);
}

static uint64_t timer_left(void)
{
	struct itimerspec t;

	assert_int_equal(timerfd_gettime(vm->cfg.timer_fd, &t), 0);
	return (uint64_t)t.it_value.tv_sec * 1000 * MS + (uint64_t)t.it_value.tv_nsec;
}

/* It runs, or has run down while this test was kept from the CPU. */
static bool timer_was_set(void)
{
	uint64_t times;

	return timer_left() || read(vm->cfg.timer_fd, &times, sizeof(times)) > 0;
}

static void deadline_sets_the_timer(void **state)
{
	uint64_t deadline;

	(void)state;
	one_shot(60000); /* 50 ms */
	deadline = atomic_load(&vm->shared.deadline_ns);
	assert_true(atomic_load(&vm->shared.armed_ns) == deadline);
	assert_true(timer_was_set());
	assert_true(timer_left() < 51 * MS);
	/* A later one: the timer stands, whoever serves its end will look. */
	one_shot(65535);
	assert_true(atomic_load(&vm->shared.deadline_ns) > deadline);
	assert_true(atomic_load(&vm->shared.armed_ns) == deadline);
	/* An earlier one */
	one_shot(1000);
	assert_true(atomic_load(&vm->shared.armed_ns) == atomic_load(&vm->shared.deadline_ns));
}

static void halt_ends_at_the_deadline(void **state)
{
	(void)state;
	one_shot(6000);
	io_halt(vm);
	assert_true(clock_now(vm) >= atomic_load(&vm->shared.deadline_ns));
	assert_int_equal(atomic_load(&vm->shared.events), VM_EVENT_TIMER);
	assert_int_equal(vm_vcpu_page(vm)->pending, FL_IF);
	assert_int_equal(atomic_load(&vm->shared.halt_futex), 0);
	assert_int_equal(timer_left(), 0); /* the VMX was not needed */
	assert_true(atomic_load(&vm->shared.armed_ns) == NO_DEADLINE);
	/* What comes next is earlier than never. */
	io_service(vm);
	one_shot(60000);
	assert_true(timer_was_set());
}

static void halt_ends_with_an_event(void **state)
{
	(void)state;
	atomic_store(&vm->shared.events, VM_EVENT_CONSOLE);
	io_halt(vm);
	assert_int_equal(atomic_load(&vm->shared.events), VM_EVENT_CONSOLE);
	assert_int_equal(atomic_load(&vm->shared.halt_futex), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(deadline_sets_the_timer, setup, teardown),
	    cmocka_unit_test_setup_teardown(halt_ends_at_the_deadline, setup, teardown),
	    cmocka_unit_test_setup_teardown(halt_ends_with_an_event, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
