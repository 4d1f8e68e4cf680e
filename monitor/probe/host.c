// SPDX-License-Identifier: GPL-3.0-or-later
/* Facts about the host. What an instruction does here is found by its experiment, as `paravane probe` finds it. */
#include "monitor/probe/host.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "monitor/probe/child.h"
#include "monitor/probe/mode.h"

#define HWCAP2_FSGSBASE_BIT 2 /* arch/x86/include/uapi/asm/hwcap2.h */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 14
#define MMAP_MIN_ADDR_MAX 65536

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
	struct probe_finding p;

	experiment_one(OP_MOV_TO_SREG, "DS: 0x7 after modify_ldt", 0, 0, &p);
	if (p.r.setup_errno)
		finding(f, HOST_NOT_DIRECT,
			"modify_ldt fails (%s): the kernel lacks CONFIG_MODIFY_LDT_SYSCALL, or a "
			"container's filter forbids it",
			strerror(p.r.setup_errno));
	else if (p.outcome == PROBE_TRAPS)
		finding(f, HOST_NOT_DIRECT, "modify_ldt succeeds, but what it set cannot be loaded: %s",
			p.exception);
	else
		finding(f, HOST_OK, "modify_ldt works");
}

static void find_code32(struct host_finding *f)
{
	struct probe_compat c;

	mode_find_compat(&c);
	if (c.selector == ABI_HOST_CS32)
		finding(f, HOST_OK, "segment 0x%x runs 32-bit code", ABI_HOST_CS32);
	else
		finding(f, HOST_NOT_DIRECT, "no segment 0x%x that runs 32-bit code: %s", ABI_HOST_CS32,
			c.evidence);
}

static void find_fsgsbase(struct host_finding *f)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)
		finding(f, HOST_OK, "usable");
	else
		finding(f, HOST_NOT_DIRECT,
			"the CPU or the kernel (nofsgsbase?) does not offer the FSGSBASE instructions");
}

static int try_seccomp(void)
{
	unsigned action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) ? errno : 0;
}

static void find_seccomp(struct host_finding *f)
{
	static const uint8_t nop[] = {0x90};
	const struct experiment e = {
	    .width = 64, .code = nop, .end = nop + sizeof(nop), .setup = try_seccomp};
	struct probe_result r;

	child_run(&e, 0, 0, &r);
	if (r.setup_errno || !r.done)
		finding(f, HOST_MISSING, "filters are not available (%s): CONFIG_SECCOMP_FILTER is needed",
			r.setup_errno ? strerror(r.setup_errno) : "the call was killed");
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
	struct probe_finding p;

	experiment_one(OP_INT, "vector", 0x80, 0, &p);
	if (p.outcome == PROBE_TRAPS)
		finding(f, HOST_NOTE, "ia32 emulation is off: int $0x80 of guests arrives as %s",
			p.exception);
	else
		finding(f, HOST_OK, "int $0x80 reaches the filter");
}

static void find_umip(struct host_finding *f)
{
	static const unsigned ops[] = {OP_SGDT, OP_SIDT, OP_SLDT, OP_STR, OP_SMSW};
	char names[64] = "";
	bool emulated = false;

	for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		struct probe_finding p;

		experiment_one(ops[i], "", 0, 0, &p);
		emulated |= p.outcome == PROBE_EMULATED;
		if (p.outcome != PROBE_TRAPS)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 *names ? ", " : "", policy_get(ops[i])->mnemonic);
	}
	if (!*names)
		finding(f, HOST_OK, "SGDT, SIDT, SLDT, STR and SMSW trap at CPL 3");
	else
		finding(f, HOST_NOTE, "%s run without a trap at CPL 3: %s", names,
			emulated ? "user code sees what the host's kernel makes up"
				 : "no UMIP, user code sees the host's values");
}

static bool has_ospke(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && c & 1u << 4 /* OSPKE */;
}

static void find_pku(struct host_finding *f)
{
	if (has_ospke())
		finding(f, HOST_NOTE, "protection keys are on: PKRU is switched at every exit");
	else
		finding(f, HOST_OK, "protection keys are off");
}

uint64_t host_xcr0(void)
{
	unsigned a, b, c = 0, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static void find_xsave(struct host_finding *f)
{
	uint64_t xcr0 = host_xcr0();

	if (xcr0)
		finding(f, HOST_OK, "XCR0 is 0x%llx", (unsigned long long)xcr0);
	else
		finding(f, HOST_NOTE, "not enabled: guests get FXSAVE only");
}

static const struct {
	const char *name;
	void (*find)(struct host_finding *f);
} checks[] = {
    {"kernel", find_kernel},   {"32-bit code", find_code32},
    {"LDT", find_ldt},	       {"FSGSBASE", find_fsgsbase},
    {"seccomp", find_seccomp}, {"mmap_min_addr", find_mmap_min},
    {"low 4 GiB", find_low},   {"XSAVE", find_xsave},
    {"int80", find_int80},     {"UMIP", find_umip},
    {"PKU", find_pku},
};

#define N_CHECKS (sizeof(checks) / sizeof(*checks))

unsigned host_findings(struct host_finding findings[HOST_FINDINGS_MAX])
{
	_Static_assert(N_CHECKS <= HOST_FINDINGS_MAX, "room for all");
	for (unsigned i = 0; i < N_CHECKS; i++) {
		findings[i] = (struct host_finding){.name = checks[i].name};
		checks[i].find(&findings[i]);
	}
	return N_CHECKS;
}

/* --- what user code may execute without a trap, though its result is not the guest's -------------------- */

static const struct {
	uint16_t op;
	const char *what; /* names the experiment */
	uint32_t arg;
} user_visible[] = {
    {OP_LAR, "selector", 0x2b},
    {OP_LSL, "selector", 0x2b},
    {OP_VERR, "selector", 0x2b},
    {OP_VERW, "selector", 0x2b},
    {OP_SGDT, "", 0},
    {OP_SIDT, "", 0},
    {OP_SLDT, "", 0},
    {OP_STR, "", 0},
    {OP_SMSW, "", 0},
    {OP_RDPMC, "ECX=0", 0},
    {OP_CPUID, "EAX=1", 0},
    {OP_RDTSCP, "", 0},
    {OP_RDPID, "", 0},
    {OP_RDPRU, "ECX=0", 0},
    {OP_RDPKRU, "", 0},
    {OP_SYSENTER, "EAX=20, getpid", 0},
    {OP_SYSCALL, "EAX=20, getpid", 0},
    {OP_VMCALL, "RAX=0x7fffffff", 0},
    {OP_VMMCALL, "RAX=0x7fffffff", 0},
};
_Static_assert(sizeof(user_visible) / sizeof(*user_visible) <=
		   sizeof(((struct host_silent *)0)->op) / sizeof(uint16_t),
	       "room for all");

void host_find_silent(uint16_t cs32, struct host_silent *s)
{
	s->n = 0;
	for (unsigned i = 0; i < sizeof(user_visible) / sizeof(*user_visible); i++) {
		struct probe_finding f;

		experiment_one(user_visible[i].op, user_visible[i].what, user_visible[i].arg, cs32, &f);
		if (f.outcome == PROBE_LEAKS || f.outcome == PROBE_SILENT || f.outcome == PROBE_EMULATED)
			s->op[s->n++] = user_visible[i].op;
	}
}
