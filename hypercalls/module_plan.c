// SPDX-License-Identifier: GPL-3.0-or-later
#include "hypercalls/module_plan.h"

#include <errno.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "hypercalls/window.h"

#define SHORT_LEN 2

_Static_assert(sizeof(struct module_plan_header) == 32 && sizeof(struct module_plan_section) == 32 &&
		   sizeof(struct module_plan_window) == 12 && sizeof(struct module_plan_obscure) == 8,
	       "no padding in the plan");

uint32_t module_plan_hash(uint32_t hash, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n--)
		hash = (hash ^ *p++) * 0x01000193;
	return hash;
}

const char *module_plan_header_wrong(const struct module_plan_header *h)
{
	if (memcmp(h->magic, MODULE_PLAN_MAGIC, sizeof(h->magic)))
		return "no \"" MODULE_PLAN_MAGIC "\" at its start";
	if (!h->n_sections || h->n_sections > MODULE_PLAN_SECTIONS)
		return "no section, or too many";
	if (h->size > MODULE_PLAN_MAX || h->n_windows > MODULE_PLAN_MAX || h->n_obscure > MODULE_PLAN_MAX ||
	    module_plan_starts_at(h) + h->starts_size != h->size)
		return "its size is not that of its tables";
	return NULL;
}

static bool within(uint32_t first, uint64_t n, uint32_t all)
{
	return first <= all && n <= all - first;
}

const char *module_plan_section_wrong(const struct module_plan_header *h, const struct module_plan_section *s)
{
	if (s->reserved)
		return "a reserved word is set";
	if (!s->size || s->size > MODULE_PLAN_MAX * 8 ||
	    !within(s->starts, ((uint64_t)s->size + 7) / 8, h->starts_size))
		return "its instruction starts are not in the plan";
	if (!within(s->window, s->n_windows, h->n_windows) || !within(s->obscure, s->n_obscure, h->n_obscure))
		return "its windows or ranges are not in the plan";
	return NULL;
}

const char *module_plan_window_wrong(const struct module_plan_section *s, const struct module_plan_window *w)
{
	int64_t hop = (int64_t)w->offset + w->hop;

	if (w->reserved)
		return "a reserved word is set";
	if (!w->n_insns || w->n_insns > MODULE_WINDOW_INSNS || !within(w->offset, w->len, s->size))
		return "it is not in its section";
	if (w->len < (w->hop ? SHORT_LEN : JUMP_LEN))
		return "it is too short for a jump";
	if (w->hop && (hop < 0 || !within((uint32_t)hop, JUMP_LEN, s->size) || w->hop < -128 + SHORT_LEN ||
		       w->hop > 127 + SHORT_LEN))
		return "its hop is out of reach";
	return NULL;
}

static int bad(struct diag *d, const char *what, uint32_t index, const char *why)
{
	return diag_set(d, -EINVAL, "module plan: %s %u: %s", what, index, why);
}

static int check_windows(const struct module_plan_section *s, const struct module_plan_window *w,
			 struct diag *d)
{
	uint32_t end = 0;

	for (uint32_t i = s->window; i < s->window + s->n_windows; i++) {
		const char *why = module_plan_window_wrong(s, &w[i]);

		if (!why && w[i].offset < end)
			why = "it overlaps the one before it";
		if (why)
			return bad(d, "window", i, why);
		end = w[i].offset + w[i].len;
	}
	return 0;
}

static int check_obscure(const struct module_plan_section *s, const struct module_plan_obscure *o,
			 struct diag *d)
{
	for (uint32_t i = s->obscure; i < s->obscure + s->n_obscure; i++)
		if (o[i].offset >= o[i].end || o[i].end > s->size)
			return bad(d, "obscure range", i, "it is empty or not in its section");
	return 0;
}

static uint32_t whole_hash(const uint8_t *plan, size_t size)
{
	struct module_plan_header h;
	uint32_t hash;

	memcpy(&h, plan, sizeof(h));
	h.check = 0;
	hash = module_plan_hash(MODULE_PLAN_HASH, &h, sizeof(h));
	for (uint32_t i = 0; i < h.n_sections; i++) {
		struct module_plan_section s;

		memcpy(&s, plan + sizeof(h) + i * sizeof(s), sizeof(s));
		s.start = 0;
		hash = module_plan_hash(hash, &s, sizeof(s));
	}
	return module_plan_hash(hash, plan + module_plan_windows_at(&h), size - module_plan_windows_at(&h));
}

int module_plan_check(const uint8_t *plan, size_t size, struct diag *d)
{
	const struct module_plan_header *h = (const void *)plan;
	const struct module_plan_section *s = (const void *)(h + 1);
	const char *why = size < sizeof(*h) ? "cut off" : module_plan_header_wrong(h);
	int err = 0;

	if (!why && h->size != size)
		why = "its size is not that of the section";
	if (!why && h->check != whole_hash(plan, size))
		why = "its check word does not fit: damaged";
	if (why)
		return diag_set(d, -EINVAL, "module plan: %s", why);
	for (uint32_t i = 0; !err && i < h->n_sections; i++) {
		why = module_plan_section_wrong(h, &s[i]);
		if (why)
			return bad(d, "section", i, why);
		err = check_windows(&s[i], (const void *)(plan + module_plan_windows_at(h)), d);
		if (!err)
			err = check_obscure(&s[i], (const void *)(plan + module_plan_obscure_at(h)), d);
	}
	return err;
}

void module_plan_seal(uint8_t *plan, size_t size)
{
	struct module_plan_header *h = (void *)plan;

	memcpy(h->magic, MODULE_PLAN_MAGIC, sizeof(h->magic));
	h->size = (uint32_t)size;
	h->check = whole_hash(plan, size);
}

int module_window_insns(const uint8_t *bytes, uint32_t len, uint32_t va, unsigned n, struct lower_insn *insns,
			uint32_t *next)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		struct lower_insn *in = &insns[i];
		int size;

		*in = (struct lower_insn){.va = va + at, .bytes = bytes + at};
		size = at < len ? insn_decode(&in->insn, bytes + at, len - at, va + at, 32) : -EINVAL;
		if (size <= 0 || window_is_read_by_handlers(&in->insn))
			return -EINVAL;
		in->site = insn_is_sensitive(&in->insn) ? 0 : MANIFEST_NONE;
		at += (uint32_t)size;
	}
	*next = va + at;
	return 0;
}
