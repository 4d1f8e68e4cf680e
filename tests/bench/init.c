// SPDX-License-Identifier: GPL-3.0-or-later
/* The benchmark program as the first process of a guest: file systems, and the end of the machine. */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

void init_mounts(void)
{
	enum { CONSOLE_LEVEL = 8 }; /* klogctl(2) */

	mkdir("/t", 0755);
	if (mount("tmpfs", "/t", "tmpfs", 0, NULL) || mount("proc", "/proc", "proc", 0, NULL) ||
	    mount("dev", "/dev", "devtmpfs", 0, NULL))
		die("mount");
	/* The kernel's own messages would land in the middle of a row. */
	klogctl(CONSOLE_LEVEL, NULL, 1);
}

_Noreturn void init_power_off(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
