// SPDX-License-Identifier: GPL-3.0-or-later
/* The plain way back: nothing is lost by it, and it reads its frame but writes nowhere. */
#include "tests/unwind/unwind.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, FRAME = 2048 };

static volatile unsigned handled;
static char *pages; /* nothing, and the frame */
static bool read_only;
static uintptr_t entry;

static void spoil(int sig)
{
	(void)sig;
	handled++;
	__asm__ volatile("fninit; fldz; xor %%eax, %%eax; pxor %%xmm0, %%xmm0"
			 :
			 :
			 : "eax", "ecx", "edx", "cc", "memory");
}

/* Registers, flags and floating point, on either side of a fault of an instruction that the handler steps over. */
static void skip_ud2(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	spoil(sig);
	uc->uc_mcontext.gregs[REG_EIP] += 2;
}

static void keeps_registers(const struct way *way)
{
	static const uint32_t in[6] = {0x11111111, 0x22222222, 0x33333333,
				       0x44444444, 0x55555555, 0x66666666};
	uint32_t out[6], flags, xmm = 0x77777777;
	double d = 0.1, x = 0;

	handle(SIGILL, (void (*)(int))(uintptr_t)skip_ud2, way);
	__asm__ volatile("movd %[xmm], %%xmm0; fldl %[d]\n\t"
			 "push %%ebp; mov 20(%[in]), %%ebp; push %[out]; mov (%[in]), %%eax; mov 4(%[in]), "
			 "%%ebx; mov 8(%[in]), %%ecx\n\t"
			 "mov 12(%[in]), %%edx; mov 16(%[in]), %%edi; cmp $0x80000000, %%ebp; stc\n\t"
			 "ud2\n\t"
			 "pushf; xchg %%edi, 4(%%esp); mov %%eax, (%%edi); mov %%ebx, 4(%%edi); mov %%ecx, "
			 "8(%%edi); mov %%edx, 12(%%edi)\n\t"
			 "mov %%ebp, 20(%%edi); pop %%eax; pop 16(%%edi); pop %%ebp\n\t"
			 "mov %%eax, %[flags]; fstpl %[x]; movd %%xmm0, %[xmm]"
			 : [flags] "=m"(flags), [x] "=m"(x), [xmm] "+m"(xmm)
			 : [in] "S"(in), [out] "D"(out), [d] "m"(d)
			 : "eax", "ebx", "ecx", "edx", "memory", "cc", "st", "xmm0");
	printf("return %s: registers %s, flags %x, %.17g, %x\n", way->name,
	       memcmp(in, out, sizeof in) ? "differ" : "kept", flags & 0x8d5, x, xmm);
	signal(SIGILL, SIG_DFL);
}

/* Return by a copy of the frame, whose page takes no write or has none below it. */
static void elsewhere(int sig)
{
	char *sp = (char *)__builtin_frame_address(0) + 4, *copy = pages + PAGE;

	(void)sig;
	handled++;
	memcpy(copy, sp, FRAME);
	if (read_only && mprotect(copy, PAGE, PROT_READ))
		die("mprotect");
	__asm__ volatile("mov %0, %%esp; jmp *%1" : : "r"(copy + 4), "r"(entry) : "memory");
}

static void by_a_copy(const struct way *way, const char *name)
{
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || mprotect(pages, PAGE, PROT_NONE))
		die("mmap");
	entry = vdso_entry(name);
	handle(SIGUSR1, elsewhere, way);
	handled = 0;
	raise(SIGUSR1);
	printf("return by %s, frame %s: %u\n", way->name, read_only ? "read-only" : "at the start of memory",
	       handled);
	munmap(pages, 2 * PAGE);
}

void test_return(void)
{
	keeps_registers(&ways[1]);
	keeps_registers(&ways[2]);
	for (unsigned i = 0; i < 2; i++) {
		read_only = i;
		by_a_copy(&ways[0], "__kernel_sigreturn");
		by_a_copy(&ways[1], "__kernel_rt_sigreturn");
	}
}
