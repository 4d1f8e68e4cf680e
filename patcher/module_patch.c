// SPDX-License-Identifier: GPL-3.0-or-later
#include "patcher/module_patch.h"

#include <elf.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/module_plan.h"
#include "patcher/patch.h"

/* --- the source -------------------------------------------------------------------------------------------- */

#define SIGNATURE_MAGIC "~Module signature appended~\n"
#define SIGNATURE_HEADER 12 /* struct module_signature: its last four bytes are the length, big-endian */

size_t module_signature_size(const uint8_t *ko, size_t size)
{
	size_t magic = strlen(SIGNATURE_MAGIC), fixed = magic + SIGNATURE_HEADER;
	const uint8_t *length;
	uint32_t n;

	if (size < fixed || memcmp(ko + size - magic, SIGNATURE_MAGIC, magic))
		return 0;
	length = ko + size - magic - 4;
	n = (uint32_t)length[0] << 24 | (uint32_t)length[1] << 16 | (uint32_t)length[2] << 8 | length[3];
	return n <= size - fixed ? fixed + n : 0;
}

bool module_is_relocatable(const uint8_t *bytes, size_t size)
{
	Elf32_Ehdr eh;

	if (size < sizeof(eh))
		return false;
	memcpy(&eh, bytes, sizeof(eh));
	return !memcmp(eh.e_ident, ELFMAG, SELFMAG) && eh.e_ident[EI_CLASS] == ELFCLASS32 &&
	       eh.e_machine == EM_386 && eh.e_type == ET_REL;
}

void module_source_digest(uint8_t digest[32], const uint8_t *elf, size_t elf_size, const uint8_t *tail,
			  size_t tail_size)
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, elf_size, elf);
	if (tail_size)
		sha256_update(&ctx, tail_size, tail);
	sha256_digest(&ctx, 32, digest);
}

/* A section of a patched module, by name: its bytes, or NULL. */
static const uint8_t *find(const uint8_t *bytes, size_t size, const char *name, size_t *length)
{
	Elf32_Ehdr eh;
	Elf32_Shdr names, sh;

	if (!module_is_relocatable(bytes, size))
		return NULL;
	memcpy(&eh, bytes, sizeof(eh));
	if (eh.e_shentsize != sizeof(sh) || eh.e_shstrndx >= eh.e_shnum || eh.e_shoff > size ||
	    eh.e_shnum * sizeof(sh) > size - eh.e_shoff)
		return NULL;
	memcpy(&names, bytes + eh.e_shoff + eh.e_shstrndx * sizeof(sh), sizeof(sh));
	if (names.sh_offset > size || names.sh_size > size - names.sh_offset)
		return NULL;
	for (unsigned i = 1; i < eh.e_shnum; i++) {
		memcpy(&sh, bytes + eh.e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_PROGBITS || sh.sh_offset > size || sh.sh_size > size - sh.sh_offset ||
		    sh.sh_name >= names.sh_size || names.sh_size - sh.sh_name <= strlen(name) ||
		    memcmp(bytes + names.sh_offset + sh.sh_name, name, strlen(name) + 1))
			continue;
		*length = sh.sh_size;
		return bytes + sh.sh_offset;
	}
	return NULL;
}

bool module_is_patched(const uint8_t *bytes, size_t size)
{
	size_t n;

	return find(bytes, size, PATCH_UNDO_SECTION, &n) != NULL;
}

int module_patched_windows(const char *name, const uint8_t *patched, size_t size, size_t *windows,
			   struct diag *d)
{
	static const char *const sections[] = {MODULE_PLAN_SECTION, MODULE_PLAN_INIT_SECTION};
	struct diag why = {0};

	*windows = 0;
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		struct module_plan_header h;
		size_t n;
		const uint8_t *plan = find(patched, size, sections[i], &n);

		if (plan && module_plan_check(plan, n, &why))
			return diag_set(d, -EINVAL, "%s: %s: %s", name, sections[i], why.text);
		if (!plan)
			continue;
		memcpy(&h, plan, sizeof(h));
		*windows += h.n_windows;
	}
	return 0;
}

/* --- analysis ---------------------------------------------------------------------------------------------- */

static bool has_code(const struct image *img)
{
	for (size_t i = 0; i < img->n_sections; i++)
		if (img->sections[i].exec && img->sections[i].data)
			return true;
	return false;
}

static int load(struct module_analysis *a, const char *name, const uint8_t *ko, size_t size, struct diag *d)
{
	uint8_t *copy = malloc(size + 1);
	bool damaged;
	int err;

	if (!copy)
		return diag_set(d, -ENOMEM, "%s: out of memory", name);
	memcpy(copy, ko, size);
	err = image_load_module(&a->img, name, copy, size, &damaged, d);
	if (err)
		return err;
	if (a->img.width != 32)
		return diag_set(d, -ENOTSUP,
				"%s: a %d-bit module; only 32-bit kernels and modules can be patched", name,
				a->img.width);
	if (damaged)
		return diag_set(d, -EINVAL, "%s: %s", name, a->img.n_notes ? a->img.notes[0] : "damaged");
	return has_code(&a->img) ? 0 : diag_set(d, -ENODATA, "%s: no code in it", name);
}

int module_analyse(struct module_analysis *a, const char *name, const uint8_t *ko, size_t size,
		   struct diag *d)
{
	int err;

	*a = (struct module_analysis){0};
	if (module_is_patched(ko, size))
		return diag_set(d, -EALREADY,
				"%s: it is patched already; `paravane unpatch` gives its source back", name);
	err = load(a, name, ko, size - module_signature_size(ko, size), d);
	if (!err)
		err = targets_collect(&a->targets, &a->img, d);
	if (!err)
		err = cfg_build(&a->cfg, &a->img, &a->targets, d);
	if (!err)
		err = plan_build_alone(&a->plan, &a->cfg, d);
	if (err)
		module_analysis_free(a);
	return err;
}

void module_analysis_free(struct module_analysis *a)
{
	plan_free(&a->plan);
	cfg_free(&a->cfg);
	targets_free(&a->targets);
	image_free(&a->img);
	*a = (struct module_analysis){0};
}

/* --- patching ---------------------------------------------------------------------------------------------- */

static void count(struct module_patched *p, const struct module_analysis *a)
{
	for (size_t i = 0; i < a->plan.n_sites; i++)
		p->tactics[a->plan.sites[i].tactic]++;
	for (size_t i = 0; i < a->plan.n_windows; i++)
		p->windows += a->plan.windows[i].tactic != TACTIC_BREAKPOINT;
	p->obscure = a->cfg.undecoded_bytes;
}

/* Emit every stub once, as the monitor will: a window whose stub cannot be emitted must not get into a plan. */
static int try_stubs(struct module_patched *p, const struct module_analysis *a, struct diag *d)
{
	struct manifest m = {.h.hole_base = ABI_HOLE_BASE};
	struct stubs st = {0};
	int err = manifest_string(&m, "") == 0 ? stubs_emit(&st, &m, &a->plan, d) : -ENOMEM;

	p->stub_bytes = st.size;
	free(st.bytes);
	manifest_free(&m);
	return err;
}

static int undo_check(const char *name, const struct module_patched *p, const uint8_t *ko, size_t size,
		      struct diag *d)
{
	uint8_t *back;
	size_t back_size;
	int err = module_unpatch(name, p->bytes, p->size, &back, &back_size, d);

	if (err)
		return err;
	if (back_size != size || memcmp(back, ko, size))
		err = diag_set(d, -EINVAL, "%s: patching it cannot be undone", name);
	free(back);
	return err;
}

static int plans_write(struct module_patched *p, const struct module_analysis *a, const uint8_t *ko,
		       size_t size, struct diag *d)
{
	struct module_plan_image plans[2] = {0};
	int err = 0;

	for (int init = 0; !err && init < 2; init++)
		err = module_plan_build(&plans[init], &a->plan, init, d);
	if (!err)
		err = module_elf_write(&a->img, &a->cfg, plans, ko + a->img.file_size,
				       size - a->img.file_size, &p->bytes, &p->size, d);
	free(plans[0].bytes);
	free(plans[1].bytes);
	return err;
}

int module_patch(struct module_patched *p, const char *name, const uint8_t *ko, size_t size, struct diag *d)
{
	struct module_analysis a;
	int err = module_analyse(&a, name, ko, size, d);

	*p = (struct module_patched){.was_signed = module_signature_size(ko, size)};
	if (err)
		return err;
	count(p, &a);
	err = try_stubs(p, &a, d);
	if (!err)
		err = plans_write(p, &a, ko, size, d);
	if (!err)
		err = undo_check(name, p, ko, size, d);
	module_analysis_free(&a);
	if (err) {
		free(p->bytes);
		p->bytes = NULL;
		return diag_set(d, err, "%s: %s", name, strerror(-err));
	}
	return 0;
}

int module_unpatch(const char *name, const uint8_t *patched, size_t patched_size, uint8_t **ko, size_t *size,
		   struct diag *d)
{
	size_t undo_size;
	const uint8_t *undo = find(patched, patched_size, PATCH_UNDO_SECTION, &undo_size);
	uint32_t elf_size = 0;
	uint8_t digest[32];

	if (undo && undo_size >= MODULE_UNDO_TAIL)
		memcpy(&elf_size, undo + MODULE_UNDO_SIZE, sizeof(elf_size));
	if (elf_size < sizeof(Elf32_Ehdr) || elf_size > patched_size)
		return diag_set(d, -EINVAL,
				"%s: no undo record in it: not a module that `paravane patch` wrote", name);
	*size = elf_size + undo_size - MODULE_UNDO_TAIL;
	*ko = malloc(*size);
	if (!*ko)
		return diag_set(d, -ENOMEM, "%s: out of memory", name);
	memcpy(*ko, patched, elf_size);
	memcpy(*ko, undo, sizeof(Elf32_Ehdr));
	memcpy(*ko + elf_size, undo + MODULE_UNDO_TAIL, *size - elf_size);
	module_source_digest(digest, *ko, *size, NULL, 0);
	if (!memcmp(digest, undo + MODULE_UNDO_DIGEST, sizeof(digest)))
		return 0;
	free(*ko);
	return diag_set(d, -EINVAL,
			"%s: it was changed after patching: undoing it does not give the source's hash",
			name);
}
