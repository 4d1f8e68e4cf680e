// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/host.h"
#include "monitor/vmx/jail.h"

enum { ORDER_FORK, ORDER_REAP, ORDER_SUMMARY };

struct order {
	uint32_t what, index;
};
struct answer {
	int32_t err;
	int32_t value; /* pid, or wait status */
};

/* --- in the zygote and its workers ----------------------------------------------------------------------- */

static void exit_unless_child_of(pid_t parent)
{
	/* The parent may have died before the request took hold. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
}

static void close_range_or_die(unsigned first, unsigned last)
{
	if (first <= last && syscall(SYS_close_range, first, last, 0) && errno != EINVAL)
		_exit(1);
}

/* Close all descriptors but these (ascending, -1 for none). */
static void close_all_but(const int *keep, unsigned n)
{
	unsigned next = 0;

	for (unsigned i = 0; i < n; i++) {
		if (keep[i] < 0)
			continue;
		if (keep[i] > 0)
			close_range_or_die(next, (unsigned)keep[i] - 1);
		next = (unsigned)keep[i] + 1;
	}
	close_range_or_die(next, ~0u);
}

static void sort(int *a, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && a[j - 1] > a[j]; j--) {
			int t = a[j];

			a[j] = a[j - 1];
			a[j - 1] = t;
		}
}

static void limit(int what, rlim_t value)
{
	struct rlimit r = {value, value};

	setrlimit(what, &r);
}

static void restrict_worker(const struct vm *vm)
{
	int keep[] = {vm->cfg.ram_fd, vm->cfg.notify_fd, vm->cfg.timer_fd, vm->cfg.trace_fd};
	size_t mapped = 0;

	sort(keep, ARRAY_LEN(keep));
	close_all_but(keep, ARRAY_LEN(keep));
	/* The arena and RAM as they are mapped, the guest's 4 GiB (twice with the long engine), and 1 GiB for the rest. */
	mapped = vm->cfg.arena_size + vm->cfg.tail + vm->cfg.tail_size;
	limit(RLIMIT_AS, mapped + ((vm->cfg.engine == ENGINE_LONG ? 9ull : 5ull) << 30));
	limit(RLIMIT_NOFILE, 0);
	if (!vm->cfg.trace) { /* someone who traces wants a debugger and a core file, too */
		limit(RLIMIT_CORE, 0);
		prctl(PR_SET_DUMPABLE, 0);
	}
}

static void __attribute__((noreturn)) worker_body(struct vm *vm, unsigned index, const struct jail *jail)
{
	struct diag d = {""};
	sigset_t none;

	restrict_worker(vm);
	if (vmm_worker_prepare(vm, index, &d) || jail_enter(jail, &d)) {
		vm_stop(vm, STOP_MONITOR, 0, d.text);
		host_notify(vm->cfg.notify_fd);
		_exit(1);
	}
	sigemptyset(&none); /* kicks too, now that their handler is there */
	sigprocmask(SIG_SETMASK, &none, NULL);
	vmm_worker(vm, index);
}

static struct answer order_fork(struct vm *vm, unsigned index, const struct jail *jail, pid_t *pids)
{
	pid_t self = getpid(), pid = fork();

	if (pid < 0)
		return (struct answer){-errno, 0};
	if (pid == 0) {
		exit_unless_child_of(self);
		worker_body(vm, index, jail);
	}
	pids[index] = pid;
	return (struct answer){0, pid};
}

static struct answer order_reap(unsigned index, const pid_t *pids)
{
	int status;

	if (pids[index] <= 0 || waitpid(pids[index], &status, 0) < 0)
		return (struct answer){-ECHILD, 0};
	return (struct answer){0, status};
}

static struct answer order_summary(struct vm *vm, const struct jail *jail)
{
	uint32_t candidates, verified, refused;
	pid_t self = getpid(), pid = fork();
	struct diag d = {""};
	int status;

	if (pid == 0) {
		exit_unless_child_of(self);
		restrict_worker(vm);
		if (jail_enter(jail, &d))
			_exit(1);
		code_summary(vm, &candidates, &verified, &refused);
		vm->stats.code_candidates = candidates;
		vm->stats.code_verified = verified;
		vm->stats.code_refused = refused;
		host_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return (struct answer){-errno, 0};
	return (struct answer){0, status};
}

static struct answer obey(struct vm *vm, struct order o, const struct jail *jail, pid_t *pids)
{
	if (o.index >= WORKERS_MAX)
		return (struct answer){-EINVAL, 0};
	switch (o.what) {
	case ORDER_FORK:
		return order_fork(vm, o.index, jail, pids);
	case ORDER_REAP:
		return order_reap(o.index, pids);
	case ORDER_SUMMARY:
		return order_summary(vm, jail);
	default:
		return (struct answer){-EINVAL, 0};
	}
}

static void __attribute__((noreturn)) zygote_body(struct vm *vm, int sock)
{
	int keep[] = {sock, vm->cfg.ram_fd, vm->cfg.notify_fd, vm->cfg.timer_fd, vm->cfg.trace_fd};
	pid_t pids[WORKERS_MAX] = {0};
	struct jail jail;
	struct diag d = {""};
	struct order o;
	int err;

	sort(keep, ARRAY_LEN(keep));
	close_all_but(keep, ARRAY_LEN(keep));
	setsid(); /* Ctrl-C and Ctrl-Z at the terminal are for the VMX alone */
	err = jail_compile(&jail, vm->cfg.ram_fd, vm->cfg.notify_fd, vm->cfg.timer_fd, vm->cfg.trace_fd, &d);
	while (read(sock, &o, sizeof(o)) == sizeof(o)) {
		struct answer a = err ? (struct answer){err, 0} : obey(vm, o, &jail, pids);

		if (write(sock, &a, sizeof(a)) != sizeof(a))
			break;
	}
	_exit(0);
}

/* --- in the VMX ------------------------------------------------------------------------------------------ */

static int pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int zygote_start(struct zygote *z, struct vm *vm, struct diag *d)
{
	pid_t self = getpid();
	int pair[2];

	*z = (struct zygote){.pidfd = -1, .sock = -1};
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		z->worker_pidfd[i] = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return diag_set(d, -errno, "host: socketpair: %s", strerror(errno));
	z->pid = fork();
	if (z->pid == 0) {
		exit_unless_child_of(self);
		zygote_body(vm, pair[1]);
	}
	close(pair[1]);
	z->sock = pair[0];
	if (z->pid < 0)
		return diag_set(d, -errno, "host: fork: %s", strerror(errno));
	z->pidfd = pidfd_open(z->pid);
	if (z->pidfd < 0)
		return diag_set(d, -errno, "host: pidfd_open: %s", strerror(errno));
	return 0;
}

/* The zygote is trusted, but it may have been killed: then read() returns 0. */
static int ask(struct zygote *z, uint32_t what, unsigned index, int *value)
{
	struct order o = {what, index};
	struct answer a;
	ssize_t n;

	if (send(z->sock, &o, sizeof(o), MSG_NOSIGNAL) != sizeof(o))
		return -EPIPE;
	do
		n = read(z->sock, &a, sizeof(a));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(a))
		return -EPIPE;
	*value = a.value;
	return a.err;
}

int zygote_fork(struct zygote *z, unsigned index, struct diag *d)
{
	int pid, err = ask(z, ORDER_FORK, index, &pid);

	if (err)
		return diag_set(d, err, "cannot start worker %u: %s", index, strerror(-err));
	/* The zygote reaps on order only, so the pid is still that worker's, dead or alive. */
	z->worker_pidfd[index] = pidfd_open(pid);
	if (z->worker_pidfd[index] < 0)
		return diag_set(d, -errno, "host: pidfd_open: %s", strerror(errno));
	return 0;
}

int zygote_reap(struct zygote *z, unsigned index, int *status)
{
	return ask(z, ORDER_REAP, index, status);
}

static void kill_wait(int *pidfd)
{
	struct pollfd p = {.fd = *pidfd, .events = POLLIN};

	if (*pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	close(*pidfd);
	*pidfd = -1;
}

void zygote_kill_workers(struct zygote *z)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		kill_wait(&z->worker_pidfd[i]);
}

void zygote_summary(struct zygote *z)
{
	int status;

	ask(z, ORDER_SUMMARY, 0, &status);
}

void zygote_stop(struct zygote *z)
{
	zygote_kill_workers(z);
	kill_wait(&z->pidfd);
	if (z->pid > 0)
		waitpid(z->pid, NULL, 0);
	if (z->sock >= 0)
		close(z->sock);
	*z = (struct zygote){.pidfd = -1, .sock = -1};
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		z->worker_pidfd[i] = -1;
}
