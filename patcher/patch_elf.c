// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The patched ELF. Nothing of the source moves: what is new is appended, and the ELF header points at new
 * section and program headers behind it (the old ones stay where they were, unused). The old header is kept in
 * .paravane.undo, with the size of the source behind it.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/elf_append.h"
#include "patcher/patch.h"

/* The old program headers and one for the stubs. p_paddr 0: the monitor, not a boot loader, puts it in place. */
static int segments_append(struct elf_append *o, const struct image *img, const Elf32_Shdr *stubs)
{
	size_t old = (size_t)o->eh.e_phnum * sizeof(Elf32_Phdr);
	Elf32_Phdr ph = {.p_type = PT_LOAD,
			 .p_offset = stubs->sh_offset,
			 .p_vaddr = stubs->sh_addr,
			 .p_filesz = stubs->sh_size,
			 .p_memsz = stubs->sh_size,
			 .p_flags = PF_R | PF_X,
			 .p_align = 4096};
	int err;

	if (o->eh.e_phentsize != sizeof(ph) || o->eh.e_phnum >= PN_XNUM - 1 ||
	    o->eh.e_phoff > img->elf_size || old > img->elf_size - o->eh.e_phoff)
		return -EINVAL;
	err = elf_append_bytes(o, img->elf + o->eh.e_phoff, old, 4);
	o->eh.e_phoff = (Elf32_Off)(o->size - old);
	if (!err)
		err = elf_append_bytes(o, &ph, sizeof(ph), 1);
	o->eh.e_phnum++;
	return err;
}

static int new_sections(struct elf_append *o, const struct image *img, const struct stubs *st,
			const uint8_t *manifest, size_t manifest_size, uint32_t hole_base)
{
	Elf32_Shdr code = {
	    .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = hole_base + ABI_STUBS};
	Elf32_Shdr data = {.sh_type = SHT_PROGBITS};
	bool foreign = img->container != IMAGE_ELF;
	uint8_t undo[sizeof(Elf32_Ehdr) + 4];
	uint32_t elf_size = (uint32_t)img->elf_size;
	int err;

	memcpy(undo, img->elf, sizeof(Elf32_Ehdr));
	memcpy(undo + sizeof(Elf32_Ehdr), &elf_size, sizeof(elf_size));
	err = elf_append_section(o, MANIFEST_STUB_SECTION, st->bytes, st->size, 4096, &code);
	if (!err)
		err = elf_append_section(o, MANIFEST_SECTION, manifest, manifest_size, 16, &data);
	if (!err && foreign)
		err = elf_append_section(o, MANIFEST_SOURCE_SECTION, img->file, img->file_size, 16, &data);
	if (!err)
		err = elf_append_section(o, PATCH_UNDO_SECTION, undo, sizeof(undo), 4, &data);
	return err;
}

int patch_elf_write(const struct image *img, const uint8_t *patched, const struct stubs *st,
		    const uint8_t *manifest, size_t manifest_size, uint32_t hole_base, uint8_t **out,
		    size_t *out_size, struct diag *d)
{
	struct elf_append o;
	int err = elf_append_start(&o, patched, img->elf_size);

	if (!err)
		err = new_sections(&o, img, st, manifest, manifest_size, hole_base);
	if (!err)
		err = segments_append(&o, img, &o.sections[o.n_old]);
	if (!err)
		err = elf_append_finish(&o);
	if (!err) {
		*out = o.bytes;
		*out_size = o.size;
		o.bytes = NULL;
	}
	elf_append_free(&o);
	if (err)
		return diag_set(d, err, "%s: ELF header: %s", img->path,
				err == -EINVAL ? "its section or program headers are out of bounds"
					       : strerror(-err));
	return 0;
}
