// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.7: The second opinion
 *
 * The second opinion. The patcher decides with Zydis, its own control-flow graph and the policy table; a mistake
 * in any of them would make a wrong patch that looks right to them. So nothing here uses them: LLVM decodes, the
 * sensitive instructions stand in verify_insn.c, the targets are collected anew in verify_targets.c, and the forms
 * that a stub may have are written a second time in verify_stub.c. Shared are only the container (patcher/image.h,
 * which finds the ELF, its sections and its symbols) and the manifest's parser; from the manifest nothing is
 * believed that can be checked.
 *
 * It fails closed: what it cannot explain is a failure.
 */
#include "patcher/verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/verify_check.h"

#define FAILURES_SHOWN 50

static void text_add(struct verify_ctx *c, const char *line)
{
	size_t n = strlen(line);
	char *new;

	if (c->text_len + n + 1 > c->text_cap) {
		size_t cap = 2 * (c->text_cap + n + 1);

		new = realloc(c->r->text, cap);
		if (!new) {
			c->nomem = true;
			return;
		}
		c->r->text = new;
		c->text_cap = cap;
	}
	memcpy(c->r->text + c->text_len, line, n + 1);
	c->text_len += n;
}

static void where(const struct verify_ctx *c, uint32_t va, char *buf, size_t cap)
{
	const struct image_symbol *s = verify_text_at(c->src, va) ? image_symbol_at(c->src->img, va) : NULL;

	if (s)
		snprintf(buf, cap, "0x%x (%s+0x%x): ", va, s->name, (uint32_t)(va - s->va));
	else if (va)
		snprintf(buf, cap, "0x%x: ", va);
	else
		buf[0] = '\0'; /* the file as a whole */
}

void verify_fail(struct verify_ctx *c, uint32_t va, const char *fmt, ...)
{
	char line[512];
	size_t n;
	va_list ap;

	if (c->r->failures++ >= FAILURES_SHOWN)
		return;
	where(c, va, line, sizeof(line) / 2);
	n = strlen(line);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	text_add(c, line);
}

bool verify_claim(struct verify_ctx *c, uint32_t va, uint32_t len, enum stub_use use)
{
	uint32_t off = va - c->stubs_va;

	if (va < c->stubs_va || off > c->m.h.stubs_size || len > c->m.h.stubs_size - off || !len) {
		verify_fail(c, va, "%u bytes of %s that are not in the stub segment", len,
			    use == STUB_PAD ? "a landing pad" : "a stub");
		return false;
	}
	for (uint32_t i = 0; i < len; i++) {
		if (c->stub_use[off + i]) {
			verify_fail(c, va + i, "two stubs or landing pads share this byte");
			return false;
		}
	}
	memset(c->stub_use + off, use, len);
	return true;
}

bool verify_claim_original(struct verify_ctx *c, uint32_t offset, uint32_t len)
{
	if (offset > c->m.h.n_originals || len > c->m.h.n_originals - offset ||
	    memchr(c->original_use + offset, 1, len))
		return false;
	memset(c->original_use + offset, 1, len);
	return true;
}

/* The originals are those of the windows and the setup header of a bzImage, and nothing else. */
static void check_originals(struct verify_ctx *c)
{
	const struct manifest_header *h = &c->m.h;
	const struct image *img = c->src->img;

	if (h->setup_size != img->setup_size || (!h->setup_size && h->setup_offset) ||
	    (h->setup_size &&
	     (!verify_claim_original(c, h->setup_offset, h->setup_size) ||
	      memcmp(c->m.originals + h->setup_offset, img->file + img->setup_offset, h->setup_size))))
		verify_fail(c, 0, "the setup header in the manifest is not the source's");
	if (memchr(c->original_use, 0, h->n_originals))
		verify_fail(c, 0, "original bytes in the manifest that belong to no window");
}

/* What no stub and no pad has claimed must be int3. */
static void check_fill(struct verify_ctx *c)
{
	for (uint32_t i = 0; i < c->m.h.stubs_size; i++) {
		if (c->stub_use[i] == STUB_FREE && c->stubs[i] != 0xcc) {
			verify_fail(c, c->stubs_va + i, "a byte between the stubs is not int3");
			return;
		}
	}
}

static void judge(struct verify_ctx *c)
{
	bool module = c->src->img->container == IMAGE_MODULE;

	if (!(module ? verify_module_open(c) : verify_elf_open(c)))
		return;
	c->stub_use = calloc(1, (size_t)c->m.h.stubs_size + 1);
	c->site_pad_used = calloc(1, (size_t)c->m.h.n_sites + 1);
	c->original_use = calloc(1, (size_t)c->m.h.n_originals + 1);
	if (!c->stub_use || !c->site_pad_used || !c->original_use) {
		c->nomem = true;
		return;
	}
	verify_windows(c);
	verify_aims(c);
	check_originals(c);
	verify_sites(c);
	if (module)
		verify_module_bytes(c);
	else
		verify_pages(c);
	check_fill(c);
	if (c->points_seen != c->m.h.n_points && !c->r->failures)
		verify_fail(c, 0, "the manifest has %u restart points, the stubs have %zu instructions",
			    c->m.h.n_points, c->points_seen);
	if (!module)
		verify_elf_unchanged(c);
}

int verify_check(const struct verify_source *src, const uint8_t *out, size_t out_size,
		 struct verify_result *r, struct diag *d)
{
	struct verify_ctx c = {.src = src, .out = out, .out_size = out_size, .r = r};

	*r = (struct verify_result){.text = calloc(1, 1)};
	c.text_cap = 1;
	c.allowed = calloc(1, src->img->elf_size + 1);
	c.dec = verify_decoder_new();
	if (r->text && c.allowed && c.dec)
		judge(&c);
	else
		c.nomem = true;
	r->targets = src->n_targets;
	r->odd = src->n_odd;
	r->instructions = src->n_instructions;
	r->points = c.points_seen;
	verify_decoder_free(c.dec);
	if (c.laid)
		verify_module_free(&c);
	else
		manifest_free(&c.m);
	free(c.copies);
	free(c.aims);
	free(c.stub_use);
	free(c.site_pad_used);
	free(c.original_use);
	free(c.allowed);
	if (!r->text)
		r->text = strdup("");
	if (c.nomem)
		return diag_set(d, -ENOMEM, "verify: out of memory, or no libLLVM-14.so.1 that has an X86 disassembler");
	return r->failures ? -EBADMSG : 0;
}
