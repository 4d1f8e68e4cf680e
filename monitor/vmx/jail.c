// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.4: The jail
 *
 * Two filters, both run at every system call, the stricter verdict counts.
 *
 * The entry filter tells the guest's system calls from the monitor's, so that no guest's SYSCALL, SYSENTER or
 * INT 0x80 reaches the host kernel: foreign ABI first (on AMD a compat-mode SYSCALL is reported with the IP of
 * the vDSO's landing pad, above 4 GiB), then instruction pointers in the guest's 4 GiB or the long engine's blocks. Its verdict is SIGSYS,
 * which the VMM turns into what the guest expects.
 *
 * The rules are the boundary: code that broke out into 64-bit mode can jump to the monitor's own SYSCALL
 * instruction, so every call left has its arguments checked as far as a filter can see them.
 */
#include "monitor/vmx/jail.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/vmm/types.h"

#define GUEST_END (1ull << 32)

/* Below GUEST_END, and not longer than it: the sum is out of a filter's reach, but up to 8 GiB nothing lives. */
#define AT_GUEST SCMP_A0(SCMP_CMP_LT, GUEST_END), SCMP_A1(SCMP_CMP_LE, GUEST_END)
/* The same in the long engine's second view of the guest. */
#define AT_WINDOW                                                                                            \
	SCMP_A0(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(GUEST_END - 1), LONG_WINDOW),                            \
	    SCMP_A1(SCMP_CMP_LE, GUEST_END)
#define PROT_ONLY(arg)                                                                                       \
	SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(PROT_READ | PROT_WRITE | PROT_EXEC), 0)

static int add_rules(scmp_filter_ctx c, int ram_fd, int notify_fd, int timer_fd, int trace_fd)
{
	static const int plain[] = {
	    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(sched_yield), SCMP_SYS(clock_gettime),
	    SCMP_SYS(exit_group), SCMP_SYS(modify_ldt),
	    /* the kernel itself makes it when SIGCONT ends a stop inside a timed wait */
	    SCMP_SYS(restart_syscall)};
	static const int futex_ops[] = {FUTEX_WAIT, FUTEX_WAKE};
	const int writable[] = {notify_fd, trace_fd};
	int err = 0;

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, plain[i], 0);
	err = err
		  ?: seccomp_rule_add(
			 c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 5, AT_GUEST, PROT_ONLY(2),
			 SCMP_A3(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)MAP_POPULATE, MAP_SHARED | MAP_FIXED),
			 SCMP_A4(SCMP_CMP_EQ, (unsigned)ram_fd));
	err = err
		  ?: seccomp_rule_add(
			 c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 5, AT_WINDOW, PROT_ONLY(2),
			 SCMP_A3(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)MAP_POPULATE, MAP_SHARED | MAP_FIXED),
			 SCMP_A4(SCMP_CMP_EQ, (unsigned)ram_fd));
	err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(munmap), 2, AT_GUEST);
	err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(munmap), 2, AT_WINDOW);
	err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 3, AT_GUEST, PROT_ONLY(2));
	err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 3, AT_WINDOW, PROT_ONLY(2));
	err = err ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 2, AT_GUEST);
	for (size_t i = 0; i < sizeof(futex_ops) / sizeof(futex_ops[0]); i++)
		err = err
			  ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(futex), 1,
					      SCMP_A1(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)FUTEX_PRIVATE_FLAG,
						      futex_ops[i]));
	err = err
		  ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(timerfd_settime), 2,
				      SCMP_A0(SCMP_CMP_EQ, (unsigned)timer_fd), SCMP_A1(SCMP_CMP_EQ, 0));
	for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++)
		if (writable[i] >= 0)
			err = err
				  ?: seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
						      SCMP_A0(SCMP_CMP_EQ, (unsigned)writable[i]));
	return err;
}

/* libseccomp hands out compiled filters only through a descriptor. */
static int export_rules(struct jail *jail, scmp_filter_ctx c)
{
	int fd = memfd_create("paravane-jail", MFD_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return -errno;
	err = seccomp_export_bpf(c, fd);
	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err) {
		jail->rules.len = (unsigned short)(st.st_size / (off_t)sizeof(struct sock_filter));
		jail->rules.filter = malloc((size_t)st.st_size);
		if (!jail->rules.filter)
			err = -ENOMEM;
		else if (pread(fd, jail->rules.filter, (size_t)st.st_size, 0) != st.st_size)
			err = -EIO;
	}
	close(fd);
	return err;
}

int jail_compile(struct jail *jail, int ram_fd, int notify_fd, int timer_fd, int trace_fd, struct diag *d)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	*jail = (struct jail){0};
	if (!c)
		return diag_set(d, -ENOMEM, "jail: seccomp_init failed");
	err = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
	err = err ?: add_rules(c, ram_fd, notify_fd, timer_fd, trace_fd);
	err = err ?: export_rules(jail, c);
	seccomp_release(c);
	if (!err)
		return 0;
	jail_free(jail);
	return diag_set(d, err, "jail: cannot compile the system call rules: %s", strerror(-err));
}

void jail_free(struct jail *jail)
{
	free(jail->rules.filter);
	*jail = (struct jail){0};
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

static struct sock_filter entry_filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LONG_BASE >> 32, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

int jail_enter(const struct jail *jail, struct diag *d)
{
	struct sock_fprog entry = {sizeof(entry_filter) / sizeof(entry_filter[0]), entry_filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &entry) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &jail->rules))
		return diag_set(d, -errno, "jail: seccomp: %s", strerror(errno));
	return 0;
}
