// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/vmx/linux_boot.h"
#include "monitor/vmx/multiboot.h"

#define ROUND_UP(n, to) (((n) + (to)-1) / (to) * (to))

uint32_t loader_high(const struct guest_image *g, const struct vm *vm, size_t size, uint64_t limit)
{
	uint64_t floor = ROUND_UP((uint64_t)g->end, PAGE_SIZE);

	if (limit > vm->cfg.ram_size)
		limit = vm->cfg.ram_size;
	if (floor < HIGH_RAM)
		floor = HIGH_RAM;
	if (limit < floor || size > limit - floor)
		return 0;
	return (limit - size) & PAGE_MASK;
}

int loader_no_room(const struct guest_image *g, const struct vm *vm, const struct boot_args *args,
		   struct diag *d)
{
	uint64_t need = g->end + (uint64_t)args->initrd_size + (8u << 20); /* and a little to work in */

	return diag_set(
	    d, -EINVAL,
	    "%s: does not fit: the kernel ends at 0x%x, the initrd has %zu bytes, but memory ends "
	    "at 0x%llx; give at least --memory %lluM",
	    args->initrd_size ? args->initrd_path : g->path, g->end, args->initrd_size,
	    (unsigned long long)vm->cfg.ram_size, (unsigned long long)(ROUND_UP(need, 16ull << 20) >> 20));
}

static bool has_option(const char *list, const char *option, size_t len)
{
	for (const char *at = list; (at = strstr(at, option)); at++)
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/* What the recipe asks for as well: the hole's place; no rewriting of every lock prefix; no search for ISA cards. */
#define LINUX_OPTIONS "reservetop=0x8000000 noreplace-smp noisapnp"
_Static_assert(ABI_HOLE_SIZE == 0x8000000, "reservetop=");

char *loader_cmdline(const struct guest_image *g, const char *append)
{
	const char *wanted = g->patched ? g->manifest.strings + g->manifest.h.append : g->multiboot ? "" : LINUX_OPTIONS;
	char *line = malloc(strlen(append) + strlen(wanted) + 2), *words, *save = NULL;

	words = strdup(wanted);
	if (!line || !words) {
		free(line);
		free(words);
		return NULL;
	}
	strcpy(line, append);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (has_option(append, w, strlen(w)))
			continue;
		if (line[0])
			strcat(line, " ");
		strcat(line, w);
	}
	free(words);
	return line;
}

int loader_fill(const struct vm *vm, uint64_t at, const uint8_t *from, size_t size, struct diag *d)
{
	while (size) {
		ssize_t n = pwrite(vm->cfg.ram_fd, from, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return diag_set(d, n ? -errno : -ENOSPC, "host: guest memory cannot be filled: %s",
					strerror(n ? errno : ENOSPC));
		at += (uint64_t)n;
		from += n;
		size -= (size_t)n;
	}
	return 0;
}

static int place_segments(const struct guest_image *g, struct vm *vm, const struct boot_args *args,
			  struct diag *d)
{
	int err = 0;

	for (unsigned i = 0; !err && i < g->n_segments; i++) {
		const struct guest_segment *s = &g->segments[i];

		if (s->pa < LOW_RAM_END) /* linkers like to put ELF headers right below 1 MiB: let them */
			return diag_set(
			    d, -EINVAL,
			    "%s: a segment loads at 0x%x; what lies below 1 MiB is for the boot data",
			    g->path, s->pa);
		if (!vm_ram(vm, gpa(s->pa), s->mem_size))
			return loader_no_room(g, vm, args, d);
		err = loader_fill(vm, s->pa, g->file + s->file_offset, s->file_size, d);
	}
	if (!err && g->stubs.mem_size)
		err = loader_fill(vm, vm->cfg.stubs_off, g->file + g->stubs.file_offset, g->stubs.file_size, d);
	return err;
}

static struct segment flat(uint16_t sel, uint32_t type)
{
	return (struct segment){sel, 0, UINT32_MAX, type << 8 | ATTR_S | ATTR_P | ATTR_DB | ATTR_G};
}

/* Both protocols: protected mode, paging off, flat segments (boot.rst: CS 0x10, others 0x18), IF clear. */
static void enter_flat(struct vm *vm, uint32_t entry)
{
	static const uint64_t gdt[] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
	struct vcpu *v = &vm->vcpu;

	memcpy(vm_ram(vm, gpa(LOW_GDT), sizeof(gdt)), gdt, sizeof(gdt));
	*v = (struct vcpu){
	    .eip = entry,
	    .eflags = FL_FIXED,
	    .gdtr = {LOW_GDT, sizeof(gdt) - 1},
	    /* Reset values, SDM 3A table 10-1. */
	    .ldtr = {0, 0, 0xffff, 2 << 8 | ATTR_P},
	    .tr = {0, 0, 0xffff, 0xb << 8 | ATTR_P},
	    .cr0 = CR0_PE | CR0_ET,
	    .dr = {[6] = 0xffff0ff0, [7] = 0x400},
	    .pat = 0x0007040600070406,
	    .exc_vector = EXC_NONE,
	};
	for (int s = 0; s < SEG_COUNT; s++)
		v->seg[s] = flat(0x18, 3);
	v->seg[SEG_CS] = flat(0x10, 0xb);
	v->gpr[REG_SP] = LOW_GDT; /* undefined by the protocols; this one at least is RAM */
}

int loader_place(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d)
{
	int err = place_segments(g, vm, args, d);

	if (err)
		return err;
	vm->cfg.image_start = g->start;
	vm->cfg.image_end = g->end;
	vm->cfg.patched = g->patched;
	vm->cfg.alias_delta = g->patched ? g->manifest.h.alias_delta : g->alias_delta;
	/*
	 * Linux links at PAGE_OFFSET + physical address; user space ends at PAGE_OFFSET. Of others nothing is known: their
	 * user code is at least kept out of the hole, where it would find our gates and the vCPU page.
	 */
	vm->cfg.kernel_split = g->multiboot ? vm->cfg.hole_base : vm->cfg.alias_delta;
	enter_flat(vm, g->entry);
	return g->multiboot ? multiboot_boot(g, vm, args, d) : linux_boot(g, vm, args, d);
}

/* One list of the tables serves for their size and for copying them. */
#define TABLES(m, T)                                                                                         \
	T(windows, (m)->h.n_windows)                                                                         \
	T(sites, (m)->h.n_sites)                                                                             \
	T(points, (m)->h.n_points)                                                                           \
	T(verified, (m)->h.n_verified)                                                                       \
	T(starts, (m)->h.n_starts)                                                                           \
	T(originals, (m)->h.n_originals)                                                                     \
	T(strings, (m)->h.n_strings)

#define TABLE_ALIGN(n) (((n) + 15) & ~(size_t)15)

size_t loader_tables_size(const struct manifest *m)
{
	size_t size = TABLE_ALIGN(m->h.n_sites * sizeof(struct insn));

#define T(field, n) size += TABLE_ALIGN((size_t)(n) * sizeof(*m->field));
	TABLES(m, T)
#undef T
	return size;
}

static int decode_site(const struct guest_image *g, uint32_t i, struct insn *insn, struct diag *d)
{
	const struct manifest_site *s = &g->manifest.sites[i];
	uint8_t bytes[INSN_MAX];

	if (s->len > INSN_MAX || !guest_image_original(g, s->va, bytes, s->len))
		return diag_set(d, -EKEYREJECTED, "%s: manifest: site 0x%x lies outside the image", g->path,
				s->va);
	if (insn_decode(insn, bytes, s->len, s->va, 32) != s->len || insn->op != s->op)
		return diag_set(d, -EKEYREJECTED, "%s: manifest: site 0x%x is not %s in this image", g->path,
				s->va, policy_get(s->op)->id);
	return 0;
}

int loader_tables(const struct guest_image *g, struct vm *vm, void *at, struct diag *d)
{
	const struct manifest *m = &g->manifest;
	uint8_t *to = at;

	vm->manifest.h = m->h;
#define T(field, n)                                                                                          \
	vm->manifest.field = (void *)to;                                                                     \
	if (n)                                                                                               \
		memcpy(to, m->field, (size_t)(n) * sizeof(*m->field));                                       \
	to += TABLE_ALIGN((size_t)(n) * sizeof(*m->field));
	TABLES(m, T)
#undef T
	vm->site_insns = (void *)to;
	for (uint32_t i = 0; i < m->h.n_sites; i++) {
		int err = decode_site(g, i, &vm->site_insns[i], d);

		if (err)
			return err;
	}
	return 0;
}
