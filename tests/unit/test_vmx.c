// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The VMX as a process: terminal, signals, death of its parts, and what its workers are left with. The guest
 * is a flat Multiboot image that prints '!', echoes COM1 by polling, and halts for good on 'q'.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypercalls/command.h"
#include "monitor/vmm/types.h"
#include "monitor/vmx/vmx.h"

#define LOAD 0x100000
#define HANG_MS 20000 /* a hang guard, not a measure */

/* clang-format off */
static const uint8_t code[] = {
	0x02, 0xb0, 0xad, 0x1b, 0x03, 0, 0, 0, 0xfb, 0x4f, 0x52, 0xe4, /* Multiboot header: magic, flags 3, checksum */
	0x66, 0xba, 0xfc, 0x03,	/* mov $0x3fc,%dx */
	0xb0, 0x03, 0xee,	/* mov $3,%al; out %al,(%dx): DTR and RTS, or nothing is sent to us */
	0x66, 0xba, 0xf8, 0x03,	/* mov $0x3f8,%dx */
	0xb0, '!', 0xee,	/* mov $'!',%al; out %al,(%dx) */
	0x66, 0xba, 0xfd, 0x03, 0xec, /* 1: mov $0x3fd,%dx; in (%dx),%al */
	0xa8, 0x01, 0x74, 0xf7,	/* test $1,%al; jz 1b */
	0x66, 0xba, 0xf8, 0x03, 0xec, /* mov $0x3f8,%dx; in (%dx),%al */
	0x3c, 'q', 0x74, 0x03,	/* cmp $'q',%al; je 2f */
	0xee, 0xeb, 0xeb,	/* out %al,(%dx); jmp 1b */
	0xfa, 0xf4,		/* 2: cli; hlt */
};
/* clang-format on */

static char image[] = "/tmp/pv-flat.XXXXXX";
static char errors[] = "/tmp/pv-err.XXXXXX";

struct run {
	pid_t pid;
	int in, out; /* our ends */
	struct termios before;
};

static void __attribute__((noreturn)) child(void)
{
	struct run_options o = {.image = image, .append = "", .memory = MEMORY_MIN, .workers = 2};
	int err = open(errors, O_WRONLY | O_TRUNC);
	struct diag d = {""};
	int status;

	status = vmx_run(&o, &d);
	dprintf(err, "%s\n", d.text);
	_exit(status);
}

static struct run start_pipes(void)
{
	int in[2], out[2];
	struct run r = {0};

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	r.pid = fork();
	if (r.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		child();
	}
	close(in[0]);
	close(out[1]);
	r.in = in[1];
	r.out = out[0];
	return r;
}

static struct run start_terminal(void)
{
	struct run r;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(master, &r.before), 0);
	r.pid = fork();
	if (r.pid == 0) {
		close(master);
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		for (int fd = 0; fd < 3; fd++)
			dup2(slave, fd);
		child();
	}
	/* The slave stays open here: what was set on it must be seen after the child has gone. */
	r.in = r.out = master;
	return r;
}

/* Read until `want` characters have come. */
static const char *expect(const struct run *r, size_t want)
{
	static char got[256];
	size_t n = 0;

	memset(got, 0, sizeof(got));
	while (n < want) {
		struct pollfd p = {r->out, POLLIN, 0};
		ssize_t k;

		k = poll(&p, 1, HANG_MS) == 1 ? read(r->out, got + n, sizeof(got) - 1 - n) : 0;
		if (k <= 0) {
			kill(r->pid, SIGKILL);
			fail_msg("the guest said only \"%s\"", got);
		}
		n += (size_t)k;
	}
	return got;
}

static void say(const struct run *r, const char *text)
{
	assert_int_equal(write(r->in, text, strlen(text)), strlen(text));
}

static int end(struct run *r)
{
	int status;

	for (int ms = 0; waitpid(r->pid, &status, WNOHANG) == 0; ms += 10) {
		if (ms > HANG_MS) {
			kill(r->pid, SIGKILL);
			fail_msg("the run does not end");
		}
		usleep(10000);
	}
	return status;
}

static const char *message(void)
{
	static char text[600];
	int fd = open(errors, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* The n-th child of pid, 0 if there is none. */
static pid_t child_of(pid_t pid, unsigned n)
{
	char path[64];
	FILE *f;
	int c = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	if (!f)
		skip(); /* no CONFIG_PROC_CHILDREN */
	for (unsigned i = 0; i <= n; i++)
		if (fscanf(f, "%d", &c) != 1)
			c = 0;
	fclose(f);
	return c;
}

static bool same_mode(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_lflag == b->c_lflag &&
	       a->c_cflag == b->c_cflag;
}

static void through_pipes(void **state)
{
	struct run r = start_pipes();
	int status;

	(void)state;
	say(&r, "ab\001xcq"); /* no escape key here */
	assert_string_equal(expect(&r, 6), "!ab\001xc");
	status = end(&r);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_STATUS_OK);
	assert_string_equal(message(), "\n");
}

static void end_of_input_is_not_the_end(void **state)
{
	struct run r = start_pipes();

	(void)state;
	close(r.in);
	expect(&r, 1);
	usleep(50000);
	assert_int_equal(waitpid(r.pid, NULL, WNOHANG), 0);
	kill(r.pid, SIGTERM);
	end(&r);
}

static void terminal_and_escape(void **state)
{
	struct run r = start_terminal();
	struct termios t;
	int status;

	(void)state;
	expect(&r, 1);
	assert_int_equal(tcgetattr(r.in, &t), 0);
	assert_false(t.c_lflag & (ECHO | ICANON | ISIG));
	say(&r, "a\003\001ab"); /* Ctrl-C is the guest's, Ctrl-A a sends Ctrl-A */
	assert_string_equal(expect(&r, 4), "a\003\001b");
	say(&r, "\001x");
	status = end(&r);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_STATUS_OK);
	assert_int_equal(tcgetattr(r.in, &t), 0);
	assert_true(same_mode(&t, &r.before));
}

static void signals_end_the_run(void **state)
{
	static const int sigs[] = {SIGTERM, SIGINT, SIGHUP};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++) {
		struct run r = start_terminal();
		struct termios t;
		int status;

		expect(&r, 1);
		kill(r.pid, sigs[i]);
		status = end(&r);
		assert_true(WIFSIGNALED(status)); /* whoever waits sees why */
		assert_int_equal(WTERMSIG(status), sigs[i]);
		assert_int_equal(tcgetattr(r.in, &t), 0);
		assert_true(same_mode(&t, &r.before));
	}
}

static void a_killed_worker_stops_the_run(void **state)
{
	struct run r = start_pipes();
	pid_t zygote, worker;
	int status;

	(void)state;
	expect(&r, 1);
	zygote = child_of(r.pid, 0);
	worker = child_of(zygote, 1); /* the idle one: nobody waits for it, and still */
	kill(worker, SIGKILL);
	status = end(&r);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_STATUS_MONITOR);
	assert_non_null(strstr(message(), "worker 1 was killed by signal 9"));
}

static void a_killed_zygote_stops_the_run(void **state)
{
	struct run r = start_pipes();
	int status;

	(void)state;
	expect(&r, 1);
	kill(child_of(r.pid, 0), SIGKILL);
	status = end(&r);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_STATUS_MONITOR);
}

static void nothing_outlives_the_vmx(void **state)
{
	struct run r = start_pipes();
	pid_t zygote, workers[2];

	(void)state;
	expect(&r, 1);
	zygote = child_of(r.pid, 0);
	workers[0] = child_of(zygote, 0);
	workers[1] = child_of(zygote, 1);
	assert_true(zygote > 0 && workers[0] > 0 && workers[1] > 0);
	kill(r.pid, SIGKILL);
	end(&r);
	for (int ms = 0; !kill(zygote, 0) || !kill(workers[0], 0) || !kill(workers[1], 0); ms += 10) {
		/* Orphans become zombies of whoever adopts them; a zombie does not run. */
		char path[64], text[256] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", workers[0]);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strstr(text, ") Z"))
			break;
		close(fd);
		if (ms > HANG_MS)
			fail_msg("a worker outlives its VMX");
		usleep(10000);
	}
}

static unsigned count_descriptors(pid_t pid)
{
	unsigned n = 0;
	char path[64];

	for (int fd = 0; fd < 256; fd++) {
		char target[64];

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n += readlink(path, target, sizeof(target)) > 0;
	}
	return n;
}

static void workers_are_locked_in(void **state)
{
	struct run r = start_pipes();
	char path[64], text[4096] = "";
	pid_t worker;
	ssize_t n;
	int fd;

	(void)state;
	expect(&r, 1);
	worker = child_of(child_of(r.pid, 0), 0);
	snprintf(path, sizeof(path), "/proc/%d/status", worker);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	assert_non_null(strstr(text, "NoNewPrivs:\t1"));
	assert_non_null(strstr(text, "Seccomp:\t2"));
	assert_non_null(strstr(text, "Seccomp_filters:\t2"));
	if (geteuid() == 0) /* it is not dumpable: others may not look */
		assert_int_equal(count_descriptors(worker), 3); /* RAM, the notification, the timer */
	else
		assert_int_equal(count_descriptors(worker), 0);
	kill(r.pid, SIGTERM);
	end(&r);
}

static int write_image(void)
{
	struct {
		Elf32_Ehdr eh;
		Elf32_Phdr ph;
		uint8_t code[sizeof(code)];
	} file = {
	    .eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		   .e_type = ET_EXEC,
		   .e_machine = EM_386,
		   .e_version = 1,
		   .e_entry = LOAD + 12,
		   .e_phoff = sizeof(Elf32_Ehdr),
		   .e_ehsize = sizeof(Elf32_Ehdr),
		   .e_phentsize = sizeof(Elf32_Phdr),
		   .e_phnum = 1},
	    .ph = {PT_LOAD, offsetof(typeof(file), code), LOAD, LOAD, sizeof(code), sizeof(code), PF_R | PF_X,
		   4},
	};
	int fd = mkstemp(image);
	ssize_t n;

	memcpy(file.code, code, sizeof(code));
	n = write(fd, &file, sizeof(file));
	close(fd);
	return n != sizeof(file);
}

static int setup(void **state)
{
	(void)state;
	close(mkstemp(errors));
	return write_image();
}

static int teardown(void **state)
{
	(void)state;
	unlink(image);
	unlink(errors);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(through_pipes),
	    cmocka_unit_test(end_of_input_is_not_the_end),
	    cmocka_unit_test(terminal_and_escape),
	    cmocka_unit_test(signals_end_the_run),
	    cmocka_unit_test(a_killed_worker_stops_the_run),
	    cmocka_unit_test(a_killed_zygote_stops_the_run),
	    cmocka_unit_test(nothing_outlives_the_vmx),
	    cmocka_unit_test(workers_are_locked_in),
	};

#ifdef __SANITIZE_ADDRESS__
	bool sanitized = true;
#else
	bool sanitized = false;
#endif

	struct run_options nothing = {.image = "/dev/null", .append = "", .memory = MEMORY_MIN, .workers = 1};
	struct diag d = {""};

	vmx_run(&nothing, &d);
	if (!strncmp(d.text, "host: ", 6)) { /* it looks at the host first */
		print_message("1..0 # SKIP %s\n", d.text);
		return 0;
	}
	if (sanitized) {
		print_message("1..0 # SKIP the sanitizer's shadow stands where the guest goes\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
