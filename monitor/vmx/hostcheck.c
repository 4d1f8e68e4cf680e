// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Probes that could kill or change the process run in a forked child, whose exit status is the answer: it
 * exits 0 when the instruction or call worked, and by the signal's number when it trapped.
 */
#include "monitor/vmx/hostcheck.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE_BIT 2 /* arch/x86/include/uapi/asm/hwcap2.h */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 14
#define MMAP_MIN_ADDR_MAX 65536

static void __attribute__((noreturn)) exit_by_signal(int sig)
{
	_exit(sig);
}

/* 0: fine; > 0: the signal it met, or its errno; < 0: could not try. */
static int in_child(int (*probe)(void))
{
	static const int sigs[] = {SIGSEGV, SIGILL, SIGBUS, SIGSYS};
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
			signal(sigs[i], exit_by_signal);
		_exit(probe());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
}

static int probe_ldt(void)
{
	struct user_desc flat32 = {
	    .entry_number = 1, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};

	return syscall(SYS_modify_ldt, 0x11, &flat32, sizeof(flat32)) ? errno : 0;
}

static int probe_sgdt(void)
{
	uint8_t gdtr[16];

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	return 0;
}

static int probe_smsw(void)
{
	unsigned long msw;

	__asm__ volatile("smsw %0" : "=r"(msw));
	return 0;
}

static int probe_int80(void)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(20L /* i386 getpid */)
			 : "r8", "r9", "r10", "r11", "memory");
	return ret > 0 ? 0 : ENOSYS;
}

static int probe_seccomp(void)
{
	unsigned action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) ? errno : 0;
}

/* --- the findings ---------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
finding(struct host_finding *f, enum host_verdict v, const char *fmt, ...)
{
	va_list ap;

	f->verdict = v;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void find_kernel(struct host_finding *f)
{
	struct utsname u;
	int major = 0, minor = 0;

	uname(&u);
	if (sscanf(u.release, "%d.%d", &major, &minor) != 2)
		finding(f, HOST_NOTE, "version %s not understood; %d.%d or later is needed", u.release,
			KERNEL_MAJOR, KERNEL_MINOR);
	else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
		finding(f, HOST_MISSING, "Linux %s is too old; %d.%d or later is needed", u.release,
			KERNEL_MAJOR, KERNEL_MINOR);
	else
		finding(f, HOST_OK, "Linux %s", u.release);
}

static void find_ldt(struct host_finding *f)
{
	int err = in_child(probe_ldt);

	if (err)
		finding(f, HOST_MISSING,
			"modify_ldt fails (%s): the kernel lacks CONFIG_MODIFY_LDT_SYSCALL, or a "
			"container's filter forbids it",
			strerror(err));
	else
		finding(f, HOST_OK, "modify_ldt works");
}

static void find_fsgsbase(struct host_finding *f)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)
		finding(f, HOST_OK, "usable");
	else
		finding(f, HOST_MISSING,
			"the CPU or the kernel (nofsgsbase?) does not offer the FSGSBASE instructions");
}

static void find_seccomp(struct host_finding *f)
{
	int err = in_child(probe_seccomp);

	if (err)
		finding(f, HOST_MISSING, "filters are not available (%s): CONFIG_SECCOMP_FILTER is needed",
			strerror(err));
	else
		finding(f, HOST_OK, "filters available");
}

static void find_mmap_min(struct host_finding *f)
{
	FILE *file = fopen("/proc/sys/vm/mmap_min_addr", "r");
	unsigned long min = 0;

	if (!file || fscanf(file, "%lu", &min) != 1)
		finding(f, HOST_NOTE, "vm.mmap_min_addr cannot be read");
	else if (min > MMAP_MIN_ADDR_MAX)
		finding(f, HOST_MISSING, "vm.mmap_min_addr is %lu; at most %d will do", min,
			MMAP_MIN_ADDR_MAX);
	else
		finding(f, HOST_OK, "vm.mmap_min_addr is %lu", min);
	if (file)
		fclose(file);
}

/* A program loaded low (not position-independent, or ADDR_COMPAT_LAYOUT) would stand where the guest goes. */
static void find_low(struct host_finding *f)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long long start = 0;
	char line[256] = "";

	if (!file || !fgets(line, sizeof(line), file) || sscanf(line, "%llx", &start) != 1)
		finding(f, HOST_NOTE, "/proc/self/maps cannot be read");
	else if (start < 1ull << 32)
		finding(f, HOST_MISSING, "taken: %.100s", strtok(line, "\n"));
	else
		finding(f, HOST_OK, "free");
	if (file)
		fclose(file);
}

static void find_int80(struct host_finding *f)
{
	if (in_child(probe_int80))
		finding(f, HOST_NOTE, "ia32 emulation is off: int $0x80 of guests arrives as #GP");
	else
		finding(f, HOST_OK, "int $0x80 reaches the filter");
}

static void find_umip(struct host_finding *f)
{
	bool sgdt = !in_child(probe_sgdt), smsw = !in_child(probe_smsw);

	if (!sgdt && !smsw)
		finding(f, HOST_OK, "SGDT and SMSW trap at CPL 3");
	else
		finding(f, HOST_NOTE,
			"%s%s%s at CPL 3 (no UMIP, or emulated): guest user code sees host values",
			sgdt ? "SGDT" : "", sgdt && smsw ? " and " : "", smsw ? "SMSW work" : " works");
}

static bool has_ospke(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && c & BIT(4);
}

static void find_pku(struct host_finding *f)
{
	if (has_ospke())
		finding(f, HOST_NOTE, "protection keys are on: PKRU is switched at every exit");
	else
		finding(f, HOST_OK, "protection keys are off");
}

static uint64_t read_xcr0(void)
{
	unsigned a, b, c = 0, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static void find_xsave(struct host_finding *f)
{
	uint64_t xcr0 = read_xcr0();

	if (xcr0)
		finding(f, HOST_OK, "XCR0 is 0x%llx", (unsigned long long)xcr0);
	else
		finding(f, HOST_NOTE, "not enabled: guests get FXSAVE only");
}

static const struct {
	const char *name;
	void (*find)(struct host_finding *f);
} checks[] = {
    {"kernel", find_kernel},
    {"LDT", find_ldt},
    {"FSGSBASE", find_fsgsbase},
    {"seccomp", find_seccomp},
    {"mmap_min_addr", find_mmap_min},
    {"low 4 GiB", find_low},
    {"XSAVE", find_xsave},
    {"int80", find_int80},
    {"UMIP", find_umip},
    {"PKU", find_pku},
};

unsigned host_findings(struct host_finding findings[HOST_FINDINGS_MAX])
{
	_Static_assert(ARRAY_LEN(checks) <= HOST_FINDINGS_MAX, "room for all");
	for (unsigned i = 0; i < ARRAY_LEN(checks); i++) {
		findings[i] = (struct host_finding){.name = checks[i].name};
		checks[i].find(&findings[i]);
	}
	return ARRAY_LEN(checks);
}

int host_check(struct vm_config *cfg, struct diag *d)
{
	struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f), a, b, c, dx;

	for (unsigned i = 0; i < n; i++)
		if (f[i].verdict == HOST_MISSING)
			return diag_set(d, -ENOTSUP, "host: %s: %s", f[i].name, f[i].text);
	cfg->xcr0 = read_xcr0();
	cfg->fpu_avx = (cfg->xcr0 & 6) == 6; /* SSE and AVX state */
	cfg->xsave_size = cfg->xcr0 && __get_cpuid_count(0xd, 0, &a, &b, &c, &dx) ? b : 512;
	return 0;
}
