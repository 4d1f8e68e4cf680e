// SPDX-License-Identifier: GPL-3.0-or-later
/* From the planner's plan of a module to the form in which the module carries it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/module_plan.h"
#include "patcher/module_patch.h"
#include "patcher/patch.h"

/* Linux: module_init_section() of kernel/module/main.c. */
bool module_section_is_init(const char *name)
{
	return !strncmp(name, ".init", 5);
}

struct writer {
	const struct plan *plan;
	struct module_plan_header h;
	struct module_plan_section sections[MODULE_PLAN_SECTIONS];
	struct module_plan_window *windows;
	struct module_plan_obscure *obscure;
	size_t obscure_cap;
	uint8_t *starts;
};

static int put_windows(struct writer *w, const struct image_section *sec, struct module_plan_section *s)
{
	s->window = w->h.n_windows;
	for (size_t i = 0; i < w->plan->n_windows; i++) {
		const struct plan_window *pw = &w->plan->windows[i];

		if (pw->va - sec->va >= sec->size || pw->tactic == TACTIC_BREAKPOINT)
			continue;
		w->windows[w->h.n_windows++] = (struct module_plan_window){
		    .offset = (uint32_t)(pw->va - sec->va),
		    .len = (uint16_t)pw->len,
		    .hop = pw->hop == MANIFEST_NONE ? 0 : (int16_t)(pw->hop - pw->va),
		    .n_insns = pw->n_insns};
	}
	s->n_windows = w->h.n_windows - s->window;
	return 0;
}

static int add_obscure(struct writer *w, uint32_t offset)
{
	struct module_plan_obscure *last = w->h.n_obscure ? &w->obscure[w->h.n_obscure - 1] : NULL;

	if (last && last->end == offset) {
		last->end++;
		return 0;
	}
	if (w->h.n_obscure == w->obscure_cap) {
		size_t cap = w->obscure_cap ? 2 * w->obscure_cap : 16;
		void *p = reallocarray(w->obscure, cap, sizeof(*w->obscure));

		if (!p)
			return -ENOMEM;
		w->obscure = p;
		w->obscure_cap = cap;
	}
	w->obscure[w->h.n_obscure++] = (struct module_plan_obscure){offset, offset + 1};
	return 0;
}

static int put_starts(struct writer *w, const struct cfg_section *cs, struct module_plan_section *s)
{
	uint8_t *bits = w->starts + w->h.starts_size;
	unsigned step;
	int err = 0;

	s->starts = w->h.starts_size;
	s->obscure = w->h.n_obscure;
	for (uint32_t i = 0; i < cs->sec->size; i += step)
		if (verified_start(w->plan->cfg, cs, i, &step))
			bits[i / 8] |= (uint8_t)(1u << i % 8);
	for (uint32_t i = 0; !err && i < cs->sec->size; i++)
		if (!(cs->marks[i] & (CFG_CODE | CFG_PAD)) || cs->marks[i] & CFG_OVERLAP)
			err = add_obscure(w, i);
	s->n_obscure = w->h.n_obscure - s->obscure;
	w->h.starts_size += (s->size + 7) / 8;
	return err;
}

static int put_sections(struct writer *w, struct module_plan_image *out, bool init, struct diag *d)
{
	const struct cfg *cfg = w->plan->cfg;
	int err = 0;

	for (size_t i = 0; !err && i < cfg->n_sections; i++) {
		const struct cfg_section *cs = &cfg->sections[i];
		struct module_plan_section *s = &w->sections[w->h.n_sections];

		if (!cs->marks || !cs->sec->size || module_section_is_init(cs->sec->name) != init)
			continue;
		if (w->h.n_sections == MODULE_PLAN_SECTIONS)
			return diag_set(d, -EFBIG, "%s: more than %d sections of code", cfg->img->path,
					MODULE_PLAN_SECTIONS);
		*s = (struct module_plan_section){.size = (uint32_t)cs->sec->size};
		out->sections[w->h.n_sections++] = i;
		err = put_windows(w, cs->sec, s);
		if (!err)
			err = put_starts(w, cs, s);
	}
	return err;
}

static int lay_out(const struct writer *w, struct module_plan_image *out, struct diag *d)
{
	size_t starts = module_plan_starts_at(&w->h);

	out->n_sections = w->h.n_sections;
	out->size = (starts + w->h.starts_size + 3) & ~(size_t)3;
	out->bytes = calloc(1, out->size);
	if (!out->bytes)
		return -ENOMEM;
	memcpy(out->bytes, &w->h, sizeof(w->h));
	memcpy(out->bytes + sizeof(w->h), w->sections, w->h.n_sections * sizeof(*w->sections));
	memcpy(out->bytes + module_plan_windows_at(&w->h), w->windows, w->h.n_windows * sizeof(*w->windows));
	if (w->h.n_obscure)
		memcpy(out->bytes + module_plan_obscure_at(&w->h), w->obscure,
		       w->h.n_obscure * sizeof(*w->obscure));
	memcpy(out->bytes + starts, w->starts, w->h.starts_size);
	((struct module_plan_header *)out->bytes)->starts_size = (uint32_t)(out->size - starts);
	module_plan_seal(out->bytes, out->size);
	return module_plan_check(out->bytes, out->size, d); /* never write what would be refused */
}

int module_plan_build(struct module_plan_image *out, const struct plan *plan, bool init, struct diag *d)
{
	struct writer w = {.plan = plan};
	size_t bits = 0;
	int err;

	*out = (struct module_plan_image){0};
	for (size_t i = 0; i < plan->cfg->n_sections; i++)
		bits += plan->cfg->sections[i].sec->size / 8 + 1;
	w.windows = calloc(plan->n_windows + 1, sizeof(*w.windows));
	w.starts = calloc(1, bits + 1);
	err = w.windows && w.starts ? put_sections(&w, out, init, d) : -ENOMEM;
	if (!err && w.h.n_sections)
		err = lay_out(&w, out, d);
	free(w.windows);
	free(w.obscure);
	free(w.starts);
	if (err) {
		free(out->bytes);
		*out = (struct module_plan_image){0};
		return diag_set(d, err, "%s: %s", plan->cfg->img->path, strerror(-err));
	}
	return 0;
}
