// SPDX-License-Identifier: GPL-3.0-or-later
/* Processes that come and go. */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOPS = 200 };

static char *const no_env[] = {NULL};

static void reap(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork or wait");
	if (status) {
		fprintf(stderr, "a child ended with status %#x\n", (unsigned)status);
		die("child");
	}
}

static void fork_exit(unsigned n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		reap(pid);
	}
}

static void spawn(char *const argv[])
{
	pid_t pid = vfork(); /* the row's subject: NOLINT(clang-analyzer-security.insecureAPI.vfork) */

	if (!pid) {
		execve(argv[0], argv, no_env);
		_exit(127);
	}
	reap(pid);
}

static void vfork_exec(unsigned n)
{
	char *argv[] = {(char *)conf.self, "--exit", NULL};

	while (n--)
		spawn(argv);
}

/* busybox goes by argv[1] when its own name is in argv[0] */
static void shell(const char *script, unsigned n)
{
	char *argv[] = {(char *)conf.busybox, "sh", "-c", (char *)script, NULL};

	while (n--)
		spawn(argv);
}

static bool have_shell(void)
{
	return conf.busybox;
}

static void sh_true(unsigned n)
{
	shell("true", n);
}

/* `busybox true` by its path: a process and an exec each, where plain `true` would be the shell's own */
static void shell_loop(unsigned n)
{
	char script[160];

	snprintf(script, sizeof script, "i=0; while [ $i -lt %d ]; do %s true; i=$((i+1)); done", LOOPS,
		 conf.busybox);
	shell(script, n);
}

const struct row process_rows[] = {
    {.name = "fork-exit", .run = fork_exit},
    {.name = "vfork-exec", .run = vfork_exec},
    {.name = "sh-true", .possible = have_shell, .run = sh_true},
    {.name = "shell-loop", .possible = have_shell, .run = shell_loop, .per = LOOPS},
    {.name = NULL},
};
