// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A 32-bit kernel in miniature for the verifier's tests, written in assembly below: every lowering, every tactic
 * and every kind of target once, each in a function of its own. It is assembled into this test program and made an
 * ELF file in memory, with Linux 6.1's tables in sections of their usual names and the relocation list of a bzImage
 * payload behind it. Static inline because each test is one file.
 */
#ifndef TESTS_UNIT_VERIFY_FIXTURE_H
#define TESTS_UNIT_VERIFY_FIXTURE_H

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "patcher/patch.h"
#include "patcher/verify.h"

#define VFX_BASE 0xc0100000u

extern const uint8_t vfx_image[], vfx_image_end[], vfx_symbols[], vfx_symbols_end[], vfx_sections[],
    vfx_sections_end[], vfx_relocs[], vfx_relocs_end[];

/* clang-format off */
asm(
".macro VA label\n"
"	.long 0xc0100000 + (\\label - vfx_image)\n"
".endm\n"
/* a word that holds an address, known to the relocation list */
".macro ADDRESS label\n"
"55:	VA \\label\n"
"	.pushsection .vfx_relocs, \"a\"\n"
"	VA 55b\n"
"	.popsection\n"
".endm\n"
".macro SYMBOL name\n"
"\\name:\n"
"	.pushsection .vfx_symbols, \"a\"\n"
"	VA \\name\n"
"	.asciz \"\\name\"\n"
"	.balign 32\n"
"	.popsection\n"
".endm\n"
".macro FUNC name\n"
"	.balign 16, 0xcc\n"
"	SYMBOL \\name\n"
".endm\n"
".macro SECTION name, start, end, flags\n"
"	.pushsection .vfx_sections, \"a\"\n"
"	VA \\start\n"
"	.long \\end - \\start\n"
"	.long \\flags\n"
"	.asciz \"\\name\"\n"
"	.balign 32\n"
"	.popsection\n"
".endm\n"
"	.pushsection .vfx_symbols, \"a\"\n"
"vfx_symbols:\n"
"	.popsection\n"
"	.pushsection .vfx_sections, \"a\"\n"
"vfx_sections:\n"
"	.popsection\n"
"	.pushsection .vfx_relocs, \"a\"\n"
"vfx_relocs:\n"
"	.long 0\n"
"	.popsection\n"
"	.pushsection .vfx_image, \"a\"\n"
"	.code32\n"
"	.balign 4096\n"
"vfx_image:\n"
"vfx_text:\n"
"	SYMBOL startup_32\n"
"	cli\n"
"	cld\n"
"	mov	%cr0, %eax\n"
"	or	$1, %eax\n"
"	mov	%eax, %cr0\n"
"	call	t_cluster\n"
"	call	t_sti_live\n"
"	call	t_segments\n"
"	call	t_io\n"
"1:	jmp	1b\n"

"	FUNC __fentry__\n"
"	ret\n"

"	FUNC t_cluster\n"
"	pushf\n"
"	pop	%eax\n"
"	cli\n"
"	mov	%eax, %edx\n"
"	push	%edx\n"
"	popf\n"
"	ret\n"

/* flags live behind sti; a displaced jcc; the window ends at the branch's target */
"	FUNC t_sti_live\n"
"	cmp	$7, %eax\n"
"	mov	%ecx, %edx\n"
"	je	1f\n"
"	sti\n"
"1:	jne	2f\n"
"	inc	%eax\n"
"2:	ret\n"

"	FUNC t_sti_dead\n"
"	sti\n"
"	mov	4(%esp), %eax\n"
"	shr	$3, %eax\n"
"	add	$1, %eax\n"
"	ret\n"

"	FUNC t_sti_last\n"
"	mov	$5, %eax\n"
"	sti\n"
"	nopl	(%eax)\n"
"	jmp	*%eax\n"

"	FUNC t_segments\n"
"	push	%ds\n"
"	push	%es\n"
"	push	%cs\n"
"	push	%fs\n"
"	push	%gs\n"
"	mov	%ds, %eax\n"
"	mov	%ss, %bx\n"
"	mov	%gs, (%ecx)\n"
"	mov	%eax, %ds\n"
"	mov	%edx, %ss\n"
"	pop	%es\n"
"	pop	%fs\n"
"	lss	(%esp), %esp\n"
"	lar	%eax, %ecx\n"
"	pushfw\n"
"	popfw\n"
"	ret\n"

"	FUNC t_system\n"
"	mov	%cr0, %eax\n"
"	mov	%cr2, %ecx\n"
"	mov	%cr3, %edx\n"
"	mov	%cr4, %ebx\n"
"	mov	%ebx, %cr4\n"
"	mov	%db7, %eax\n"
"	sgdt	(%eax)\n"
"	lidt	(%eax)\n"
"	smsw	%eax\n"
"	str	%ecx\n"
"	cpuid\n"
"	wrmsr\n"
"	rdtsc\n"
"	invlpg	(%eax)\n"
"	clts\n"
"	ret\n"

"	FUNC t_io\n"
"	in	(%dx), %al\n"
"	out	%al, $0x80\n"
"	rep outsb\n"
"	insl\n"
"	sti\n"
"	hlt\n"
"	int	$0x80\n"
"	ret\n"

/* far transfers, and padding taken in behind a terminator */
"	FUNC t_iret\n"
"	iret\n"
"	FUNC t_lret\n"
"	lret\n"
"	FUNC t_ljmp\n"
"	ljmp	$0x10, $0xc0100000\n"

"	FUNC t_call\n"
"	cli\n"
"	call	t_cluster\n"
"2:	sti\n"
"	call	*%edx\n"
"	jmp	2b\n"

"	FUNC t_loop\n"
"	cli\n"
"	mov	$3, %ecx\n"
"1:	pause\n"
"	loop	1b\n"
"	sti\n"
"	jecxz	2f\n"
"	mov	$1, %eax\n"
"2:	ret\n"

"	FUNC t_jmp\n"
"	cli\n"
"	jmp	t_cluster\n"
"	.fill	11, 1, 0xcc\n"

/* in $imm8 between two targets: two bytes are free, and padding is near */
"	FUNC t_hop\n"
"	test	%eax, %eax\n"
"	je	1f\n"
"	js	2f\n"
"1:	in	$0x60, %al\n"
"2:	ret\n"
"	.fill	12, 1, 0xcc\n"

/* one byte between two targets */
"	FUNC t_breakpoint\n"
"	test	%eax, %eax\n"
"	je	1f\n"
"	js	2f\n"
"1:	pushf\n"
"2:	pop	%eax\n"
"	jmp	1b\n"

"	FUNC t_trap\n"
"	test	%eax, %eax\n"
"	je	1f\n"
"	js	2f\n"
"1:	hlt\n"
"2:	dec	%eax\n"
"	jmp	1b\n"

/* a target right behind the site, whose only branch can be displaced too: it goes to the copy in the stub */
"	FUNC t_relay\n"
"	jmp	1f\n"
"1:	cli\n"
"2:	dec	%ecx\n"
"	mov	%ecx, %eax\n"
"	mov	$7, %edx\n"
"	jne	2b\n"
"	mov	$1, %eax\n"
"	ret\n"

/* What must keep windows away: each cli would take in what follows it. */
"	FUNC t_jump_label\n"
"	mov	%eax, %ecx\n"
"label_site:\n"
"	.byte	0x3e, 0x8d, 0x74, 0x26, 0x00\n"
"	mov	%esi, %eax\n"
"	ret\n"
"	.balign	8, 0xcc\n"
"	mov	$1, %eax\n"
"	cli\n"
"label_target:\n"
"	inc	%eax\n"
"	dec	%ecx\n"
"	mov	%ecx, %eax\n"
"	ret\n"

"	FUNC t_symbol\n"
"	mov	$1, %eax\n"
"	cli\n"
"	SYMBOL t_symbol_inner\n"
"	inc	%eax\n"
"	dec	%ecx\n"
"	mov	%ecx, %eax\n"
"	ret\n"

"	FUNC t_reloc\n"
"	mov	$1, %eax\n"
"	cli\n"
"reloc_target:\n"
"	inc	%eax\n"
"	dec	%ecx\n"
"	mov	%ecx, %eax\n"
"	ret\n"

"	FUNC t_alternative\n"
"	mov	$1, %eax\n"
"	cli\n"
"alt_site:\n"
"	lea	0(%esi), %esi\n"
"	mov	%esi, %esi\n"
"alt_site_end:\n"
"	ret\n"

"	FUNC t_lock\n"
"	mov	$1, %eax\n"
"	cli\n"
"lock_site:\n"
"	lock incl (%eax)\n"
"	ret\n"

"	FUNC t_paravirt\n"
"	mov	$1, %eax\n"
"paravirt_site:\n"
"	cli\n"
"	mov	%edx, %eax\n"
"	mov	%edx, %eax\n"
"paravirt_end:\n"
"	ret\n"

"	FUNC t_ftrace\n"
"	cli\n"
"ftrace_site:\n"
"	call	__fentry__\n"
"	ret\n"

"	FUNC t_fixup\n"
"ex_insn:\n"
"	rdmsr\n"
"ex_fixup:\n"
"	mov	%eax, %ecx\n"
"	mov	%edx, %eax\n"
"	ret\n"

/* WARN() goes on behind its ud2, over padding; BUG() does not */
"	FUNC t_warn\n"
"warn_insn:\n"
"	ud2\n"
"	.byte	0x8d, 0xb4, 0x26, 0, 0, 0, 0\n"
"	cli\n"
"	mov	$1, %eax\n"
"	ret\n"
"	FUNC t_bug\n"
"	cli\n"
"	mov	$1, %eax\n"
"bug_insn:\n"
"	ud2\n"

"	.balign 4096, 0xcc\n"
/* A silent instruction where the kernel writes itself: only int3 may stand there. */
"	FUNC t_unverified\n"
"none_site:\n"
"	lsl	%eax, %ecx\n"
"	lea	0(%esi), %esi\n"
"none_end:\n"
"	cli\n"
"	mov	$1, %eax\n"
"	ret\n"
"	.balign 4096, 0xcc\n"
"vfx_text_end:\n"

"vfx_replacement:\n"
"repl_a:	mov	%cr0, %eax\n"
"	nop\n"
"	nop\n"
"	nop\n"
"repl_a_end:\n"
"repl_b:	sldt	%eax\n"
"repl_b_end:\n"
"vfx_replacement_end:\n"
"	.balign	16\n"
"vfx_extable:\n"
"	.long	ex_insn - ., ex_fixup - ., 0\n"
"vfx_extable_end:\n"
"	.balign	16\n"
"vfx_jump:\n"
"	.long	label_site - ., label_target - ., vfx_data - .\n"
"vfx_jump_end:\n"
"	.balign	16\n"
"vfx_alt:\n"
"	.long	alt_site - ., repl_a - .\n"
"	.byte	0, 0, alt_site_end - alt_site, repl_a_end - repl_a\n"
"	.long	none_site - ., repl_b - .\n"
"	.byte	0, 0, none_end - none_site, repl_b_end - repl_b\n"
"vfx_alt_end:\n"
"	.balign	16\n"
"vfx_para:\n"
"	ADDRESS paravirt_site\n"
"	.byte	0, paravirt_end - paravirt_site, 0, 0\n"
"vfx_para_end:\n"
"	.balign	16\n"
"vfx_locks:\n"
"	.long	lock_site - .\n"
"vfx_locks_end:\n"
"	.balign	16\n"
"vfx_bugs:\n"
"	.long	warn_insn - ., 0\n"
"	.short	1, 1\n"
"	.long	bug_insn - ., 0\n"
"	.short	2, 0\n"
"vfx_bugs_end:\n"
"	.balign	16\n"
"vfx_mcount:\n"
"	VA	ftrace_site\n"
"vfx_mcount_end:\n"
"	.balign	4096\n"
"vfx_data:\n"
"	ADDRESS reloc_target\n"
"	ADDRESS t_cluster\n"
"	.long	0x12345678\n"
"	.balign	64\n"
"vfx_data_end:\n"
"vfx_image_end:\n"
"	.code64\n"
"	.popsection\n"
"	SECTION .text, vfx_text, vfx_text_end, 6\n"
"	SECTION .altinstr_replacement, vfx_replacement, vfx_replacement_end, 6\n"
"	SECTION __ex_table, vfx_extable, vfx_extable_end, 2\n"
"	SECTION __jump_table, vfx_jump, vfx_jump_end, 3\n"
"	SECTION .altinstructions, vfx_alt, vfx_alt_end, 2\n"
"	SECTION .parainstructions, vfx_para, vfx_para_end, 2\n"
"	SECTION .smp_locks, vfx_locks, vfx_locks_end, 2\n"
"	SECTION __bug_table, vfx_bugs, vfx_bugs_end, 2\n"
"	SECTION __mcount_loc, vfx_mcount, vfx_mcount_end, 2\n"
"	SECTION .data, vfx_data, vfx_data_end, 3\n"
"	.pushsection .vfx_symbols, \"a\"\n"
"vfx_symbols_end:\n"
"	.popsection\n"
"	.pushsection .vfx_sections, \"a\"\n"
"vfx_sections_end:\n"
"	.popsection\n"
"	.pushsection .vfx_relocs, \"a\"\n"
"vfx_relocs_end:\n"
"	.popsection\n");
/* clang-format on */

struct vfx_file {
	uint8_t bytes[128 << 10];
	size_t size;
};

#define VFX_IMAGE_OFFSET 0x1000

static inline uint32_t vfx_word(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* Records are `words` words, then a name, padded to 32 bytes. */
static inline const uint8_t *vfx_next(const uint8_t *record, size_t words)
{
	size_t len = 4 * words + strlen((const char *)record + 4 * words) + 1;

	return record + (len + 31) / 32 * 32;
}

static inline void vfx_append(struct vfx_file *f, const void *bytes, size_t size)
{
	if (f->size + size > sizeof(f->bytes))
		abort();
	memcpy(f->bytes + f->size, bytes, size);
	f->size += size;
}

static inline void vfx_align(struct vfx_file *f)
{
	f->size = (f->size + 3) & ~(size_t)3;
}

static inline uint32_t vfx_name(char *table, size_t *used, const char *name)
{
	uint32_t at = *used;

	memcpy(table + at, name, strlen(name) + 1);
	*used += strlen(name) + 1;
	return at;
}

static inline void vfx_add_symtab(struct vfx_file *f, Elf32_Shdr *symtab, Elf32_Shdr *strtab)
{
	char names[4096] = "";
	size_t used = 1;
	Elf32_Sym sym = {0};

	vfx_align(f);
	symtab->sh_offset = f->size;
	vfx_append(f, &sym, sizeof(sym));
	for (const uint8_t *p = vfx_symbols; p < vfx_symbols_end; p = vfx_next(p, 1)) {
		sym = (Elf32_Sym){.st_name = vfx_name(names, &used, (const char *)p + 4),
				  .st_value = vfx_word(p),
				  .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC),
				  .st_shndx = 1};
		vfx_append(f, &sym, sizeof(sym));
	}
	symtab->sh_size = f->size - symtab->sh_offset;
	strtab->sh_offset = f->size;
	strtab->sh_size = used;
	vfx_append(f, names, used);
}

/* The ELF in memory. */
static inline void vfx_build(struct vfx_file *f)
{
	uint32_t size = vfx_image_end - vfx_image;
	Elf32_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_386,
			 .e_version = EV_CURRENT,
			 .e_entry = VFX_BASE & 0x3fffffff,
			 .e_phoff = sizeof(eh),
			 .e_ehsize = sizeof(eh),
			 .e_phentsize = sizeof(Elf32_Phdr),
			 .e_phnum = 1,
			 .e_shentsize = sizeof(Elf32_Shdr)};
	Elf32_Phdr ph = {.p_type = PT_LOAD,
			 .p_offset = VFX_IMAGE_OFFSET,
			 .p_vaddr = VFX_BASE,
			 .p_paddr = VFX_BASE & 0x3fffffff,
			 .p_filesz = size,
			 .p_memsz = size,
			 .p_flags = PF_R | PF_W | PF_X,
			 .p_align = 4096};
	Elf32_Shdr sh[24] = {0};
	char names[1024] = "";
	size_t n = 1, used = 1;

	memset(f, 0, sizeof(*f));
	f->size = VFX_IMAGE_OFFSET;
	vfx_append(f, vfx_image, size);
	for (const uint8_t *p = vfx_sections; p < vfx_sections_end; p = vfx_next(p, 3)) {
		sh[n++] = (Elf32_Shdr){.sh_name = vfx_name(names, &used, (const char *)p + 12),
				       .sh_type = SHT_PROGBITS,
				       .sh_flags = vfx_word(p + 8) & 4 ? SHF_ALLOC | SHF_EXECINSTR
								       : SHF_ALLOC | (vfx_word(p + 8) & 1),
				       .sh_addr = vfx_word(p),
				       .sh_offset = VFX_IMAGE_OFFSET + (vfx_word(p) - VFX_BASE),
				       .sh_size = vfx_word(p + 4),
				       .sh_addralign = 1};
	}
	sh[n] = (Elf32_Shdr){.sh_name = vfx_name(names, &used, ".symtab"),
			     .sh_type = SHT_SYMTAB,
			     .sh_link = n + 1,
			     .sh_info = 1,
			     .sh_entsize = sizeof(Elf32_Sym),
			     .sh_addralign = 4};
	sh[n + 1] = (Elf32_Shdr){
	    .sh_name = vfx_name(names, &used, ".strtab"), .sh_type = SHT_STRTAB, .sh_addralign = 1};
	vfx_add_symtab(f, &sh[n], &sh[n + 1]);
	n += 2;
	eh.e_shstrndx = n;
	sh[n] = (Elf32_Shdr){
	    .sh_name = vfx_name(names, &used, ".shstrtab"), .sh_type = SHT_STRTAB, .sh_addralign = 1};
	sh[n].sh_offset = f->size;
	sh[n++].sh_size = used;
	vfx_append(f, names, used);
	vfx_align(f);
	eh.e_shoff = f->size;
	eh.e_shnum = n;
	vfx_append(f, sh, n * sizeof(sh[0]));
	vfx_append(f, vfx_relocs, vfx_relocs_end - vfx_relocs);
	memcpy(f->bytes, &eh, sizeof(eh));
	memcpy(f->bytes + sizeof(eh), &ph, sizeof(ph));
}

/* A path under which the file can be opened; close *fd when done. */
static inline void vfx_path(const struct vfx_file *f, char *path, size_t cap, int *fd)
{
	*fd = memfd_create("fixture", 0);
	if (*fd < 0 || write(*fd, f->bytes, f->size) != (ssize_t)f->size)
		abort();
	snprintf(path, cap, "/proc/self/fd/%d", *fd);
}

/* The address of one of its symbols. */
static inline uint32_t vfx_symbol(const char *name)
{
	for (const uint8_t *p = vfx_symbols; p < vfx_symbols_end; p = vfx_next(p, 1))
		if (!strcmp((const char *)p + 4, name))
			return vfx_word(p);
	abort();
}

#endif
