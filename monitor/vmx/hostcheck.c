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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/vmm/cpuid.h"

#define HWCAP2_FSGSBASE_BIT 2 /* arch/x86/include/uapi/asm/hwcap2.h */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 14
#define MMAP_MIN_ADDR_MAX 65536
#define SIGNALLED 192 /* above every errno */

static void __attribute__((noreturn)) exit_by_signal(int sig)
{
	_exit(SIGNALLED + sig);
}

/* 0: fine; its errno; SIGNALLED + the signal it met; < 0: could not try. */
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
	return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALLED + WTERMSIG(status);
}

/* Sandboxes' kernels may take the entry and never load the table. */
static int probe_ldt(void)
{
	struct user_desc flat32 = {
	    .entry_number = 1, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};

	if (syscall(SYS_modify_ldt, 0x11, &flat32, sizeof(flat32)))
		return errno;
	__asm__ volatile("mov %0, %%es; mov %1, %%es" ::"r"(1 << 3 | 4 | 3), "r"(0));
	return 0;
}

/*
 * Through the host's 32-bit code segment and back: a far return to a page below 4 GiB, whose 32-bit code jumps far to
 * 64-bit code behind it. RSP is not kept across compatibility mode (SDM 1 3.4.1.1), hence `rsp`.
 */
static uint64_t code32_rsp;

static int probe_code32(void)
{
	uint8_t *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint8_t far_jump[] = {0xea, 0, 0, 0, 0, ABI_HOST_CS64, 0, 0xff, 0xe3}; /* ljmp $CS64, $+7; jmp *%rbx */
	uint32_t behind;

	if (page == MAP_FAILED)
		return errno;
	behind = (uint32_t)(uintptr_t)page + 7;
	memcpy(far_jump + 1, &behind, 4);
	memcpy(page, far_jump, sizeof(far_jump));
	__asm__ volatile("mov %%rsp, %[rsp]; lea 1f(%%rip), %%rbx; push %[cs]; push %[page]; lretq\n"
			 "1: mov %[rsp], %%rsp"
			 : [rsp] "+m"(code32_rsp)
			 : [cs] "i"(ABI_HOST_CS32), [page] "r"(page)
			 : "rbx", "memory", "cc");
	return 0;
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

	if (err >= SIGNALLED)
		finding(f, HOST_NOT_DIRECT, "modify_ldt succeeds, but what it set cannot be loaded (signal %d)",
			err - SIGNALLED);
	else if (err)
		finding(f, HOST_NOT_DIRECT,
			"modify_ldt fails (%s): the kernel lacks CONFIG_MODIFY_LDT_SYSCALL, or a "
			"container's filter forbids it",
			strerror(err));
	else
		finding(f, HOST_OK, "modify_ldt works");
}

static void find_code32(struct host_finding *f)
{
	int err = in_child(probe_code32);

	if (err)
		finding(f, HOST_NOT_DIRECT, "no 32-bit code segment 0x%x (%s %d): this kernel runs 64-bit code only",
			ABI_HOST_CS32, err >= SIGNALLED ? "signal" : "error", err >= SIGNALLED ? err - SIGNALLED : err);
	else
		finding(f, HOST_OK, "segment 0x%x runs 32-bit code", ABI_HOST_CS32);
}

static void find_fsgsbase(struct host_finding *f)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)
		finding(f, HOST_OK, "usable");
	else
		finding(f, HOST_NOT_DIRECT,
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
    {"32-bit code", find_code32},
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

static const struct host_finding *first(const struct host_finding *f, unsigned n, enum host_verdict verdict)
{
	for (unsigned i = 0; i < n; i++)
		if (f[i].verdict == verdict)
			return &f[i];
	return NULL;
}

static int choose_engine(struct vm_config *cfg, enum run_mode mode, enum user_mode user, const struct host_finding *lacks,
			 struct diag *d)
{
	bool wants_direct = mode == MODE_DIRECT || mode == MODE_TRAP;

	if (wants_direct && user == USER_TRANSLATE)
		return diag_set(d, -EINVAL, "--mode=%s executes code directly: it does not go with --user=translate",
				mode == MODE_TRAP ? "trap" : "direct");
	if (lacks && (wants_direct || user == USER_DIRECT))
		return diag_set(d, -ENOTSUP, "host: %s: %s; leave out --%s", lacks->name, lacks->text,
				!wants_direct ? "user=direct" : mode == MODE_TRAP ? "mode=trap" : "mode=direct");
	cfg->engine = lacks || user == USER_TRANSLATE ? ENGINE_LONG : ENGINE_DIRECT;
	cfg->mode = cfg->engine == ENGINE_LONG ? MODE_TRANSLATE : mode;
	return 0;
}

int host_check(struct vm_config *cfg, enum run_mode mode, enum user_mode user, struct diag *d)
{
	struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f);
	const struct host_finding *missing = first(f, n, HOST_MISSING);
	int err;

	if (missing)
		return diag_set(d, -ENOTSUP, "host: %s: %s", missing->name, missing->text);
	err = choose_engine(cfg, mode, user, first(f, n, HOST_NOT_DIRECT), d);
	if (err)
		return err;
	cfg->xcr0 = read_xcr0() & CPUID_XCR0;
	cfg->fpu_avx = (cfg->xcr0 & 6) == 6; /* SSE and AVX state */
	return 0;
}
