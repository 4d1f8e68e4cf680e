// SPDX-License-Identifier: GPL-3.0-or-later
/* A handler has its program go on in the middle of the vDSO's entries, as a debugger may. */
#include "tests/unwind/unwind.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static unsigned offset;

/* At UD2: from behind the first `offset` pushes of __kernel_vsyscall, which returns behind UD2. */
static void into_vsyscall(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint32_t *sp = (uint32_t *)g[REG_ESP];
	const uint32_t pushed[] = {(uint32_t)g[REG_ECX], (uint32_t)g[REG_EDX], (uint32_t)g[REG_EBP]};

	(void)sig, (void)info;
	*--sp = (uint32_t)g[REG_EIP] + 2;
	for (unsigned i = 0; i < offset; i++)
		*--sp = pushed[i];
	g[REG_ESP] = (greg_t)(uintptr_t)sp;
	g[REG_EIP] = (greg_t)(vdso_entry("__kernel_vsyscall") + offset);
}

/* At UD2: to the INT 0x80 of a sigreturn, with another number in EAX. */
static void into_sigreturn(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig, (void)info;
	g[REG_EIP] =
	    (greg_t)(offset == 6 ? vdso_entry("__kernel_sigreturn") : vdso_entry("__kernel_rt_sigreturn")) +
	    (greg_t)offset;
}

static void from_vsyscall(void)
{
	uint32_t ecx = 0x1234, edx = 0x5678;
	long ret = SYS_getppid;

	handle(SIGILL, (void (*)(int))(uintptr_t)into_vsyscall, &ways[1]);
	__asm__ volatile("ud2" : "+a"(ret), "+c"(ecx), "+d"(edx) : : "memory");
	printf("resume at __kernel_vsyscall + %u: %s, %x, %x\n", offset,
	       ret == getppid() ? "served" : "not served", ecx, edx);
}

static void from_sigreturn(void)
{
	pid_t child = fork();
	int status = 0;

	if (child < 0)
		die("fork");
	if (!child) {
		handle(SIGILL, (void (*)(int))(uintptr_t)into_sigreturn, &ways[1]);
		__asm__ volatile("ud2" : : "a"(SYS_exit), "b"(offset) : "memory");
	}
	waitpid(child, &status, 0);
	printf("resume at a sigreturn + %u: status %x\n", offset, (unsigned)status);
}

void test_resume(void)
{
	for (offset = 1; offset <= 3; offset++)
		from_vsyscall();
	for (offset = 5; offset <= 6; offset++)
		from_sigreturn();
	signal(SIGILL, SIG_DFL);
}
