// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Absolute relocations: which words of the image hold addresses. A CONFIG_RELOCATABLE kernel carries them
 * behind the ELF inside its bzImage, for its own boot stub. The stub reads backward from the end
 * (handle_relocations() in arch/x86/boot/compressed/misc.c of Linux; written by arch/x86/tools/relocs.c):
 * 32-bit addresses down to a zero; on x86-64 three such groups, namely words of 32 bits, words relative to
 * the per-CPU base (until 6.14), and words of 64 bits, each address sign-extended from 32 bits. A vmlinux
 * linked with --emit-relocs has SHT_REL sections.
 */
#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

int image_add_reloc(struct image *img, uint64_t va)
{
	size_t n = img->n_relocs;
	uint64_t *r = img->relocs;

	if (!n || (n >= 4096 && !(n & (n - 1)))) {
		r = realloc(r, (n ? 2 * n : 4096) * sizeof(*r));
		if (!r)
			return -ENOMEM;
		img->relocs = r;
	}
	r[n] = va;
	img->n_relocs++;
	return 0;
}

static void drop_relocs(struct image *img)
{
	free(img->relocs);
	img->relocs = NULL;
	img->n_relocs = 0;
}

static int compare(const void *va, const void *vb)
{
	const uint64_t *a = va, *b = vb;

	return *a < *b ? -1 : *a > *b;
}

void image_sort_relocs(struct image *img)
{
	size_t n = 0;

	if (!img->n_relocs)
		return;
	qsort(img->relocs, img->n_relocs, sizeof(*img->relocs), compare);
	for (size_t i = 0; i < img->n_relocs; i++)
		if (!n || img->relocs[n - 1] != img->relocs[i])
			img->relocs[n++] = img->relocs[i];
	img->n_relocs = n;
}

/*
 * How many words of a group of n may lie outside the sections: some of x86-64's, which the list names by where the
 * per-CPU section is loaded rather than by where it is linked; and of a damaged image those of the sections that were
 * left out, which are less than half.
 */
static size_t may_be_outside(const struct image *img, size_t n)
{
	return img->damaged ? n / 2 : img->width == 64 ? n / 16 : 0;
}

/*
 * One group, backward from *at (exclusive) to its zero. Keeps the addresses unless `keep` is false. -EINVAL
 * when no zero comes or too many addresses lie outside the image.
 */
static int read_group(struct image *img, size_t extent, size_t *at, size_t word, bool keep)
{
	size_t outside = 0, start = *at;

	while (*at >= extent + 4) {
		uint32_t v = le32(img->elf + *at - 4);
		uint64_t va = img->width == 64 ? (uint64_t)(int64_t)(int32_t)v : v;
		size_t avail;

		*at -= 4;
		if (!v)
			return outside > may_be_outside(img, (start - *at) / 4) ? -EINVAL : 0;
		if (!keep)
			continue;
		if (!image_bytes(img, va, &avail) || avail < word)
			outside++;
		else if (image_add_reloc(img, va))
			return -ENOMEM;
	}
	return -EINVAL;
}

static int read_list(struct image *img, size_t extent, struct diag *d)
{
	size_t at = img->elf_size;
	int err = read_group(img, extent, &at, 4, true);

	if (!err && img->width == 64 && at > extent + 4) {
		size_t second = at;

		err = read_group(img, extent, &at, 4, false);
		if (!err && at < extent + 4) { /* two groups only: it was the last one */
			at = second;
			err = read_group(img, extent, &at, 8, true);
		} else if (!err) {
			err = read_group(img, extent, &at, 8, true);
		}
	}
	if (err == -ENOMEM)
		return diag_set(d, err, "%s: out of memory for relocations", img->path);
	if (err) {
		image_note(
		    img,
		    "relocations: the list behind the ELF is damaged at offset 0x%zx; going on without it",
		    at);
		drop_relocs(img);
	}
	return 0;
}

static bool absolute_type(const struct image *img, unsigned type)
{
	if (img->width == 32)
		return type == R_386_32;
	return type == R_X86_64_64 || type == R_X86_64_32 || type == R_X86_64_32S;
}

static int read_section(struct image *img, Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	GElf_Shdr target;
	GElf_Rel rel;
	GElf_Rela rela;
	size_t n, avail;
	int err = 0;

	scn = elf_getscn(elf, sh->sh_info);
	if (!data || !sh->sh_entsize || !scn || !gelf_getshdr(scn, &target) || !(target.sh_flags & SHF_ALLOC))
		return 0;
	n = sh->sh_size / sh->sh_entsize;
	for (size_t i = 0; i < n && !err; i++) {
		if (sh->sh_type == SHT_REL) {
			if (!gelf_getrel(data, i, &rel))
				break;
			rela = (GElf_Rela){.r_offset = rel.r_offset, .r_info = rel.r_info};
		} else if (!gelf_getrela(data, i, &rela)) {
			break;
		}
		if (absolute_type(img, GELF_R_TYPE(rela.r_info)) && image_bytes(img, rela.r_offset, &avail) &&
		    avail >= 4)
			err = image_add_reloc(img, rela.r_offset);
	}
	return err;
}

static int read_sections(struct image *img, struct diag *d)
{
	Elf *elf = elf_memory((char *)img->elf, img->elf_size);
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	int err = 0;

	while (elf && !err && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &sh) && (sh.sh_type == SHT_REL || sh.sh_type == SHT_RELA))
			err = read_section(img, elf, scn, &sh);
	elf_end(elf);
	return err ? diag_set(d, err, "%s: out of memory for relocations", img->path) : 0;
}

int image_relocs_load(struct image *img, size_t extent, struct diag *d)
{
	int err = 0;

	if (img->elf_size >= extent + 8)
		err = read_list(img, extent, d);
	if (!err && !img->n_relocs)
		err = read_sections(img, d);
	image_sort_relocs(img);
	return err;
}
