// SPDX-License-Identifier: GPL-3.0-or-later
/* The first process, or a program of its own: what to do is its argument. */
#include "tests/unwind/unwind.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define ALTERNATE_STACK 65536

const struct way ways[3] = {
    {"sigreturn", 0},
    {"rt_sigreturn", SA_SIGINFO},
    {"rt_sigreturn, another stack", SA_SIGINFO | SA_ONSTACK},
};

void die(const char *what)
{
	printf("unwind: %s\n", what);
	fflush(stdout);
	_exit(1);
}

void handle(int sig, void (*handler)(int), const struct way *way)
{
	static char stack[ALTERNATE_STACK];
	static const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	/* SA_NODEFER: a handler that is left by an exception leaves no signal blocked. */
	struct sigaction act = {.sa_flags = way->flags | SA_NODEFER, .sa_handler = handler};

	if (sigaltstack(&alternate, NULL) || sigaction(sig, &act, NULL))
		die("sigaction");
}

uintptr_t vdso_entry(const char *name)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR), *names = NULL;
	const Elf32_Ehdr *eh = (const Elf32_Ehdr *)base;
	const Elf32_Phdr *ph = base ? (const Elf32_Phdr *)(base + eh->e_phoff) : NULL;
	const Elf32_Dyn *dyn = NULL;
	const Elf32_Sym *syms = NULL;
	const Elf32_Word *hash = NULL;

	for (unsigned i = 0; ph && i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const Elf32_Dyn *)(base + ph[i].p_offset);
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			syms = (const Elf32_Sym *)(base + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_STRTAB)
			names = base + dyn->d_un.d_ptr;
		if (dyn->d_tag == DT_HASH)
			hash = (const Elf32_Word *)(base + dyn->d_un.d_ptr);
	}
	for (unsigned i = 0; syms && names && hash && i < hash[1]; i++)
		if (!strcmp(names + syms[i].st_name, name))
			return (uintptr_t)base + syms[i].st_value;
	die("no such entry in the vDSO");
}

/* What a program finds that reads the return address's code, as older unwinders do. */
static void show_bytes(const char *name, unsigned len)
{
	const uint8_t *p = (const uint8_t *)vdso_entry(name);

	printf("~%s:", name);
	for (unsigned i = 0; i < len; i++)
		printf(" %02x", p[i]);
	printf("\n");
}

static void all(void)
{
	test_return();
	show_bytes("__kernel_sigreturn", 8);
	show_bytes("__kernel_rt_sigreturn", 7);
	test_walk();
	test_throw();
	test_cancel();
	test_resume();
	test_trace();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		dump_core(&ways[atoi(argv[1]) % 3]);
	all();
	return 0;
}
