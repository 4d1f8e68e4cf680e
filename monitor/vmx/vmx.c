// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.0: The machine around the virtual CPU
 *
 * A running guest is several processes. The VMX, this file, owns console, clock and files; it never runs guest code. The
 * zygote forks workers. A worker has the guest's memory mapped at the guest's own addresses, the low 4 GiB, and executes
 * the guest there; one of them at a time is the virtual CPU. What they share is the arena. Devices are models in C that the
 * worker calls for the guest's IN and OUT; the VMX carries their input and output.
 *
 * Order of a run: check the host, open the image, map memory, load, calibrate the clock, vmm_init(), fork the
 * zygote and its workers, serve events until somebody ends the run, kill the workers, report.
 *
 * What workers write into shared memory is hostile here: read once, check, and never wait for it.
 */
#include "monitor/vmx/vmx.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypercalls/command.h"
#include "monitor/vmx/calibrate.h"
#include "monitor/vmx/console.h"
#include "monitor/vmx/file.h"
#include "monitor/vmx/hostcheck.h"
#include "monitor/vmx/kick.h"
#include "monitor/vmx/loader.h"
#include "monitor/vmx/memory.h"
#include "monitor/vmx/stats.h"

#define INITRD_MAX MEMORY_MAX

/* epoll's user data: what a descriptor is. From SOURCE_WORKER on: worker indices. */
enum source {
	SOURCE_NOTIFY,
	SOURCE_TIMER,
	SOURCE_SIGNAL,
	SOURCE_ZYGOTE,
	SOURCE_IN,
	SOURCE_OUT,
	SOURCE_WORKER
};

/* A console descriptor that epoll cannot watch (a file, /dev/null) is always ready. */
struct watch {
	int fd; /* -1: not in the set */
	uint32_t events;
};

struct vmx {
	const struct run_options *o;
	struct vm_config cfg; /* until the arena is mapped */
	struct host_silent silent;
	struct vm *vm;
	struct guest_image image;
	struct zygote zygote;
	struct console console;
	struct clock_sample start;
	int epoll, signals;
	struct watch in, out;
	uint32_t stop; /* enum stop_kind */
	uint32_t stop_code;
	int signal;		/* that ended the run, 0 without */
	bool stopped_by_worker; /* not by the VMX itself */
	uint32_t panic_looks;	/* since the guest's panic line was seen */
	uint64_t panic_next_ms; /* of the next look, CLOCK_MONOTONIC */
	uint64_t panic_halts;	/* how often it had halted then */
	char stop_text[256];
};

/* --- building -------------------------------------------------------------------------------------------- */

static int add_source(struct vmx *x, int fd, uint64_t source, struct diag *d)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = source};

	if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, fd, &e))
		return diag_set(d, -errno, "host: epoll: %s", strerror(errno));
	return 0;
}

/* Blocked from here on in all processes; workers unblock. */
static int block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGCONT);
	sigaddset(set, SIGUSR1); /* the kick: must not meet a worker that has no handler yet */
	signal(SIGPIPE, SIG_IGN);
	return sigprocmask(SIG_BLOCK, set, NULL);
}

static int open_descriptors(struct vmx *x, struct diag *d)
{
	sigset_t set;

	block_signals(&set);
	x->epoll = epoll_create1(EPOLL_CLOEXEC);
	x->cfg.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	x->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	x->cfg.notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (x->epoll < 0 || x->cfg.timer_fd < 0 || x->signals < 0 || x->cfg.notify_fd < 0)
		return diag_set(d, -errno, "host: no descriptors: %s", strerror(errno));
	if (x->o->trace) {
		x->cfg.trace = true;
		x->cfg.trace_fd =
		    open(x->o->trace, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
		if (x->cfg.trace_fd < 0)
			return diag_set(d, -errno, "--trace: %s: %s", x->o->trace, strerror(errno));
	}
	/* Timers shall not be late for the sake of a sleeping host CPU. */
	prctl(PR_SET_TIMERSLACK, 1);
	return 0;
}

static int map_memory(struct vmx *x, struct diag *d)
{
	const struct manifest *m = &x->image.manifest;
	struct vm_config *cfg = &x->cfg;
	size_t vmm_size;
	int err;

	cfg->ram_size = x->o->memory;
	cfg->hole_base = x->image.patched ? m->h.hole_base : ABI_HOLE_BASE;
	cfg->hole_size = x->image.patched ? m->h.hole_size : ABI_HOLE_SIZE;
	cfg->stubs_size = x->image.stubs.mem_size;
	cfg->n_workers = (uint8_t)x->o->workers;
	cfg->patched = x->image.patched;
	memory_layout(cfg);
	vmm_size = (vmm_arena_size(cfg, m) + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	cfg->arena_size = vmm_size + loader_tables_size(m);
	if ((err = memory_map_ram(cfg, d)) || (err = memory_map_arena(cfg->arena_size, d)))
		return err;
	x->vm = VM;
	x->vm->cfg = *cfg;
	return loader_tables(&x->image, x->vm, (uint8_t *)ARENA_BASE + vmm_size, d);
}

static int load_image(struct vmx *x, struct diag *d)
{
	struct boot_args args = {.append = x->o->append, .initrd_path = x->o->initrd};
	int err = 0;

	if (x->o->initrd)
		err = host_file_map("initrd", x->o->initrd, INITRD_MAX, &args.initrd, &args.initrd_size, d);
	if (!err && x->o->initrd && !args.initrd_size)
		err = diag_set(d, -EINVAL, "%s: the initrd is empty", x->o->initrd);
	if (!err)
		err = loader_place(&x->image, x->vm, &args, d);
	host_file_unmap(args.initrd, args.initrd_size);
	return err;
}

/* The audit file is written at the end; a path that cannot work should be known before the run. */
static int check_outputs(const struct run_options *o, struct diag *d)
{
	char dir[4096];
	char *slash;

	if (!o->audit)
		return 0;
	snprintf(dir, sizeof(dir), "%s", o->audit);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	if (access(slash ? dir : ".", W_OK))
		return diag_set(d, -errno, "--audit: %s: %s", o->audit, strerror(errno));
	return 0;
}

static void init_shared(struct vm *vm)
{
	atomic_store(&vm->shared.deadline_ns, UINT64_MAX);
	atomic_store(&vm->shared.armed_ns, UINT64_MAX);
	ring_init(&vm->shared.console_in);
	ring_init(&vm->shared.console_out);
	atomic_store(&vm->shared.owner, 0); /* the baton waits for worker 0 */
}

/* 0, or the exit status to end with. */
static int build(struct vmx *x, struct diag *d)
{
	int err;

	if (host_check(&x->cfg, x->o, d) || check_outputs(x->o, d))
		return EXIT_STATUS_USER;
	x->cfg.count_cycles = x->o->stats || x->o->audit;
	if (x->cfg.engine == ENGINE_DIRECT && x->cfg.count_cycles)
		host_find_silent(ABI_HOST_CS32, &x->silent);
	err = x->o->unpatched ? guest_image_open_unpatched(&x->image, x->o->image, d)
			      : guest_image_open(&x->image, x->o->image, d);
	if (err)
		return err == -EKEYREJECTED ? EXIT_STATUS_REFUSED : EXIT_STATUS_USER;
	if (open_descriptors(x, d))
		return EXIT_STATUS_USER;
	err = map_memory(x, d);
	if (err)
		return err == -EKEYREJECTED ? EXIT_STATUS_REFUSED : EXIT_STATUS_USER;
	if (load_image(x, d))
		return EXIT_STATUS_USER;
	guest_image_unload(&x->image);
	init_shared(x->vm);
	mapping_calibrate(&x->vm->cfg);
	clock_calibrate(&x->vm->cfg, x->start);
	if (vmm_init(x->vm, d))
		return EXIT_STATUS_MONITOR;
	return 0;
}

static int start_workers(struct vmx *x, struct diag *d)
{
	int err = zygote_start(&x->zygote, x->vm, d);

	err = err ?: add_source(x, x->vm->cfg.notify_fd, SOURCE_NOTIFY, d);
	err = err ?: add_source(x, x->vm->cfg.timer_fd, SOURCE_TIMER, d);
	err = err ?: add_source(x, x->signals, SOURCE_SIGNAL, d);
	err = err ?: add_source(x, x->zygote.pidfd, SOURCE_ZYGOTE, d);
	for (unsigned i = 0; !err && i < x->vm->cfg.n_workers; i++) {
		err = zygote_fork(&x->zygote, i, d);
		err = err ?: add_source(x, x->zygote.worker_pidfd[i], SOURCE_WORKER + i, d);
	}
	return err;
}

/* --- serving --------------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
stop(struct vmx *x, enum stop_kind kind, const char *fmt, ...)
{
	va_list ap;

	if (x->stop)
		return;
	x->stop = kind;
	va_start(ap, fmt);
	vsnprintf(x->stop_text, sizeof(x->stop_text), fmt, ap);
	va_end(ap);
}

/* Take over the worker's reason: one read of each word, a bounded copy, printable characters. */
static void take_stop(struct vmx *x)
{
	uint32_t kind = atomic_load(&x->vm->shared.stop);
	char text[sizeof(x->vm->shared.stop_text)];

	if (!kind || x->stop)
		return;
	memcpy(text, x->vm->shared.stop_text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (char *c = text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	x->stop_code = atomic_load(&x->vm->shared.stop_code);
	if (kind > STOP_USER)
		kind = STOP_MONITOR;
	x->stopped_by_worker = true;
	stop(x, kind, "%s", text);
}

static void worker_died(struct vmx *x, unsigned index)
{
	int status = 0;

	epoll_ctl(x->epoll, EPOLL_CTL_DEL, x->zygote.worker_pidfd[index], NULL);
	take_stop(x); /* it may have said why */
	if (zygote_reap(&x->zygote, index, &status))
		stop(x, STOP_MONITOR, "worker %u is gone", index);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		stop(x, STOP_MONITOR, "worker %u made a system call that its jail forbids", index);
	else if (WIFSIGNALED(status))
		stop(x, STOP_MONITOR, "worker %u was killed by signal %d (%s)", index, WTERMSIG(status),
		     strsignal(WTERMSIG(status)));
	else
		stop(x, STOP_MONITOR, "worker %u exited with status %d", index, WEXITSTATUS(status));
}

static void take_signals(struct vmx *x)
{
	struct signalfd_siginfo s;

	while (read(x->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCONT)
			console_resume(&x->console);
		if (s.ssi_signo == SIGCONT || s.ssi_signo == SIGUSR1)
			continue;
		x->signal = (int)s.ssi_signo;
		stop(x, STOP_USER, "%s", strsignal(x->signal));
	}
}

static void drain(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		; /* eventfd and timerfd: one read empties them */
}

static void serve(struct vmx *x, uint64_t source)
{
	switch (source) {
	case SOURCE_NOTIFY:
		drain(x->vm->cfg.notify_fd);
		take_stop(x);
		break;
	case SOURCE_TIMER:
		drain(x->vm->cfg.timer_fd);
		kick_timer(x->vm, &x->zygote, x->vm->cfg.timer_fd);
		break;
	case SOURCE_SIGNAL:
		take_signals(x);
		break;
	case SOURCE_ZYGOTE:
		stop(x, STOP_MONITOR, "the zygote was killed");
		break;
	case SOURCE_IN:
	case SOURCE_OUT:
		break; /* the pump runs after every round */
	default:
		worker_died(x, (unsigned)(source - SOURCE_WORKER));
	}
}

/* Watch fd (-1: nothing) in the epoll set. True: it needs no watching, it is ready always. */
static bool watch_set(struct vmx *x, struct watch *w, int fd, uint32_t events, uint64_t source)
{
	struct epoll_event e = {.events = events, .data.u64 = source};

	if (fd == w->fd)
		return false;
	if (w->fd >= 0)
		epoll_ctl(x->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	if (fd < 0)
		return false;
	if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, fd, &e))
		return true;
	w->fd = fd;
	return false;
}

/*
 * The guest printed the line of a panic. It is one if nothing but CPL 0 code runs from then on and never halts: a
 * panicked Linux spins. Looks ten times; returns the ms to the next look, -1 when there is none.
 */
static int serve_panic(struct vmx *x)
{
	const struct vm *vm = x->vm;
	struct timespec now;
	uint64_t ms;

	if (strstr(x->o->append, "panic=")) /* the guest has its own idea of what to do next */
		return -1;
	if (!x->panic_looks)
		x->panic_halts = vm->stats.hypercalls[HC_HLT];
	if (vm->vcpu.cpl != 0 || vm->stats.hypercalls[HC_HLT] != x->panic_halts) {
		x->console.panic = (struct panic_watch){0};
		x->panic_looks = 0;
		return -1;
	}
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (x->panic_looks && ms < x->panic_next_ms)
		return (int)(x->panic_next_ms - ms);
	x->panic_next_ms = ms + PANIC_LOOK_MS;
	if (++x->panic_looks > PANIC_LOOKS)
		stop(x, STOP_CRASH, "%s", "its kernel panicked");
	return PANIC_LOOK_MS;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Move console bytes; returns the time to sleep at most, in ms. */
static int serve_console(struct vmx *x)
{
	struct console *c = &x->console;
	unsigned result = console_pump(c, &x->vm->shared.console_in, &x->vm->shared.console_out, monotonic_ns());
	bool ready = result & CONSOLE_AGAIN;

	if (result & CONSOLE_QUIT)
		stop(x, STOP_USER, "%s", "");
	if (result & CONSOLE_MOVED)
		kick_post(x->vm, &x->zygote, VM_EVENT_CONSOLE);
	ready |= watch_set(x, &x->in, console_wants_in(c) ? c->in : -1, EPOLLIN, SOURCE_IN);
	ready |= watch_set(x, &x->out, console_wants_out(c) ? c->out : -1, EPOLLOUT, SOURCE_OUT);
	if (ready)
		return 0;
	if (result & CONSOLE_LATER)
		return CONSOLE_GATHER_NS / 1000000;
	if (c->panic.seen)
		return serve_panic(x);
	return c->in_len ? 100 : -1; /* the guest says when input fits again; do not rely on it */
}

static void serve_until_stop(struct vmx *x)
{
	while (!x->stop) {
		struct epoll_event events[16];
		int timeout_ms = serve_console(x); /* which may end the run, too */
		int n = x->stop ? 0 : epoll_wait(x->epoll, events, ARRAY_LEN(events), timeout_ms);

		for (int i = 0; i < n; i++)
			serve(x, events[i].data.u64);
	}
}

/* --- ending ---------------------------------------------------------------------------------------------- */

/* Where the guest stood, if it was a worker that ended the run. */
static const char *where(const struct vmx *x, char buf[64])
{
	buf[0] = '\0';
	if (x->stopped_by_worker)
		snprintf(buf, 64, " (%#x, guest EIP %#x)", x->stop_code,
			 atomic_load(&x->vm->shared.stop_eip));
	return buf;
}

static int end_status(const struct vmx *x, struct diag *d)
{
	const char *text = x->stop_text;
	char at[64];

	if (x->console.panic.seen && (x->stop == STOP_RESET || x->stop == STOP_POWEROFF)) {
		diag_set(d, 0, "the guest crashed: its kernel panicked");
		return EXIT_STATUS_CRASH;
	}
	switch (x->stop) {
	case STOP_POWEROFF:
		if (!x->stop_code)
			return EXIT_STATUS_OK;
		diag_set(d, 0, "the guest ended the run with code %u%s%s", x->stop_code, text[0] ? ": " : "",
			 text);
		return EXIT_STATUS_CRASH;
	case STOP_USER:
		diag_set(d, 0, "%s", text);
		return EXIT_STATUS_OK;
	case STOP_RESET:
		diag_set(d, 0, "%s", text[0] ? text : "the guest asked for a reset");
		return EXIT_STATUS_RESET;
	case STOP_CRASH:
		diag_set(d, 0, "the guest crashed: %s%s", text, where(x, at));
		return EXIT_STATUS_CRASH;
	case STOP_GUEST:
		diag_set(d, 0, "the guest did what Paravane cannot run: %s%s", text, where(x, at));
		return EXIT_STATUS_MONITOR;
	default:
		diag_set(d, 0, "the monitor failed: %s%s", text, where(x, at));
		return EXIT_STATUS_MONITOR;
	}
}

static int report(struct vmx *x, struct diag *d)
{
	struct vm *vm = x->vm;
	struct clock_sample now = clock_sample();

	/* The VMX's own copies: what decides about addresses here must not come from a worker. */
	vm->manifest = x->image.manifest;
	if (x->o->stats)
		zygote_summary(&x->zygote);
	zygote_stop(&x->zygote);
	if (x->o->stats)
		stats_print(vm, &x->silent, now.ns - x->start.ns, stderr);
	if (x->o->audit)
		return stats_write_audit(vm, &x->silent, x->image.manifest.h.source_sha256, x->o->audit, d);
	return 0;
}

/* Die by the signal that ended the run, so that whoever waits for us sees it. */
static void raise_again(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	raise(sig);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int vmx_run(const struct run_options *o, struct diag *d)
{
	struct vmx x = {.o = o, .start = clock_sample(), .in = {.fd = -1}, .out = {.fd = -1}};
	int status;

	x.cfg.trace_fd = -1;
	status = build(&x, d);
	if (!status && start_workers(&x, d))
		status = EXIT_STATUS_MONITOR;
	if (!status && console_open(&x.console, o, d))
		status = EXIT_STATUS_USER;
	if (!status) {
		serve_until_stop(&x);
		zygote_kill_workers(&x.zygote);
		console_close(&x.console, &x.vm->shared.console_out);
		status = end_status(&x, d);
		if (report(&x, d) && status == EXIT_STATUS_OK)
			status = EXIT_STATUS_USER;
	} else if (x.zygote.pid > 0) {
		zygote_stop(&x.zygote);
	}
	guest_image_close(&x.image);
	if (x.signal) {
		fflush(NULL);
		raise_again(x.signal);
	}
	return status;
}
