// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Many modules over all processors. Each worker takes the next index from a shared counter and appends its result to
 * a spool of its own, a file in memory; the parent only watches, draws the bar and collects at the end. So at any
 * time each worker holds one module, and what a dying worker half wrote is cut off: the parent names the module that it
 * had in hand and starts another worker in its place.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "patcher/modules.h"

#define WORKERS_MAX 64
#define IDLE UINT32_MAX
#define BAR_WIDTH 40

struct slot {
	_Atomic uint32_t current;   /* index in hand, or IDLE */
	_Atomic uint64_t committed; /* bytes of whole results in the spool */
};

struct shared {
	_Atomic uint32_t next, done;
	struct slot slots[WORKERS_MAX];
};

struct module_spool {
	int fd;
	uint8_t *map;
	size_t size;
	pid_t pid; /* 0: no worker */
};

struct module_result *module_result_pack(struct module_result *head, const char *const parts[MODULE_PARTS])
{
	struct module_result *r;

	for (unsigned i = 0; i < MODULE_PARTS; i++)
		head->part_size[i] = parts[i] ? (uint32_t)strlen(parts[i]) + 1 : 1;
	r = malloc(module_result_size(head));
	if (!r)
		return NULL;
	*r = *head;
	for (unsigned i = 0; i < MODULE_PARTS; i++)
		strcpy((char *)(uintptr_t)module_part(r, i), parts[i] ? parts[i] : "");
	return r;
}

static int write_all(int fd, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* Results lie in the spool one behind the other, each padded to 8 bytes. */
static int append(int fd, struct slot *slot, const struct module_result *r)
{
	size_t size = module_result_size(r), pad = -size & 7;
	uint64_t at = slot->committed;
	int err;

	if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	err = write_all(fd, r, size);
	if (!err)
		err = write_all(fd, "\0\0\0\0\0\0\0", pad);
	if (!err)
		slot->committed = at + size + pad;
	return err;
}

static void work(struct shared *sh, size_t i, int fd, const struct module_list *list, module_work one)
{
	struct slot *slot = &sh->slots[i];

	for (;;) {
		uint32_t index = sh->next++;
		struct module_result *r;

		if (index >= list->n)
			_exit(0);
		slot->current = index;
		r = one(&list->sources[index], index);
		if (!r || append(fd, slot, r))
			_exit(1);
		free(r);
		slot->current = IDLE;
		sh->done++;
	}
}

static int start(struct module_results *r, size_t i, struct shared *sh, const struct module_list *list,
		 module_work one, const sigset_t *mask)
{
	pid_t pid;

	sh->slots[i].current = IDLE;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, mask, NULL);
		work(sh, i, r->spools[i].fd, list, one);
	}
	r->spools[i].pid = pid;
	return 0;
}

/* The worker of slot i ended in the middle of a module: that one is named, in the same spool. */
static int bury(struct module_results *r, size_t i, struct shared *sh, const struct module_list *list,
		module_work one, int status)
{
	uint32_t index = sh->slots[i].current;
	struct module_source source = list->sources[index];
	struct module_result *result;
	char why[128];
	int err;

	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why),
			 "the process that read it ended by signal %d (%s): please report this",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof(why), "no memory for it or for its report");
	source.damage = why;
	result = one(&source, index);
	err = result ? append(r->spools[i].fd, &sh->slots[i], result) : -ENOMEM;
	free(result);
	sh->done++;
	return err;
}

static void draw(FILE *f, const struct shared *sh, size_t n)
{
	size_t done = sh->done < n ? sh->done : n, full = done * BAR_WIDTH / n;
	char bar[BAR_WIDTH + 1];

	memset(bar, '#', full);
	memset(bar + full, '.', BAR_WIDTH - full);
	bar[BAR_WIDTH] = '\0';
	fprintf(f, "\r[%s] %zu of %zu modules", bar, done, n);
	fflush(f);
}

static void erase(FILE *f)
{
	fprintf(f, "\r\033[K");
	fflush(f);
}

/* Returns when no worker is left; 0 or the first error. */
static int watch(struct module_results *r, struct shared *sh, const struct module_list *list, module_work one,
		 size_t running, FILE *progress, const sigset_t *child, const sigset_t *mask)
{
	struct timespec tick = {.tv_nsec = 100000000};
	int err = 0, status;

	while (running) {
		for (size_t i = 0; i < r->n_spools; i++) {
			int e = 0;

			if (!r->spools[i].pid ||
			    waitpid(r->spools[i].pid, &status, WNOHANG) != r->spools[i].pid)
				continue;
			r->spools[i].pid = 0;
			if (sh->slots[i].current != IDLE) {
				e = bury(r, i, sh, list, one, status);
				if (!e)
					e = start(r, i, sh, list, one, mask);
			}
			running -= !r->spools[i].pid;
			if (!err)
				err = e;
		}
		if (progress)
			draw(progress, sh, list->n);
		if (running)
			sigtimedwait(child, NULL, &tick);
	}
	if (progress)
		erase(progress);
	return err;
}

static int collect(struct module_results *r, const struct shared *sh, const struct module_list *list)
{
	size_t found = 0;

	r->results = calloc(list->n, sizeof(*r->results));
	if (!r->results)
		return -ENOMEM;
	r->n = list->n;
	for (size_t i = 0; i < r->n_spools; i++) {
		struct module_spool *s = &r->spools[i];

		s->size = sh->slots[i].committed;
		s->map = s->size ? mmap(NULL, s->size, PROT_READ, MAP_PRIVATE, s->fd, 0) : NULL;
		if (s->map == MAP_FAILED) {
			s->map = NULL;
			return -errno;
		}
		for (size_t at = 0; at < s->size;) {
			const struct module_result *m = (const void *)(s->map + at);
			size_t size = module_result_size(m);

			found += !r->results[m->index];
			r->results[m->index] = m;
			at += size + (-size & 7);
		}
	}
	return found == list->n ? 0 : -EIO;
}

static size_t worker_count(size_t n)
{
	cpu_set_t set;
	size_t cpus = sched_getaffinity(0, sizeof(set), &set) ? 1 : (size_t)CPU_COUNT(&set);

	if (cpus > WORKERS_MAX)
		cpus = WORKERS_MAX;
	return cpus < n ? cpus : n;
}

static int make_spools(struct module_results *r, size_t n)
{
	r->spools = calloc(n, sizeof(*r->spools));
	if (!r->spools)
		return -ENOMEM;
	for (; r->n_spools < n; r->n_spools++) {
		r->spools[r->n_spools].fd = memfd_create("paravane-modules", MFD_CLOEXEC);
		if (r->spools[r->n_spools].fd < 0)
			return -errno;
	}
	return 0;
}

int modules_run(struct module_results *r, const struct module_list *list, module_work one, FILE *progress,
		struct diag *d)
{
	size_t n = worker_count(list->n), started = 0;
	struct shared *sh =
	    mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigset_t child, mask;
	int err;

	*r = (struct module_results){0};
	if (sh == MAP_FAILED)
		return diag_set(d, -errno, "cannot share memory with workers: %s", strerror(errno));
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &mask);
	err = make_spools(r, n);
	while (!err && started < n) {
		err = start(r, started, sh, list, one, &mask);
		started += !err;
	}
	if (started) /* fewer than asked for: the others do their work */
		err = watch(r, sh, list, one, started, progress, &child, &mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (!err)
		err = collect(r, sh, list);
	munmap(sh, sizeof(*sh));
	if (err) {
		module_results_free(r);
		return diag_set(d, err, "cannot read the modules in worker processes: %s", strerror(-err));
	}
	return 0;
}

void module_results_free(struct module_results *r)
{
	for (size_t i = 0; i < r->n_spools; i++) {
		if (r->spools[i].map)
			munmap(r->spools[i].map, r->spools[i].size);
		close(r->spools[i].fd);
	}
	free(r->spools);
	free(r->results);
	*r = (struct module_results){0};
}
