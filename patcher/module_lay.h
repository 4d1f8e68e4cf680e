// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Carrying out a module's plan on its image, all of it at once, as the monitor does page by page: what the verifier
 * looks at. Sites come out as the monitor finds them, by decoding at the plan's instruction starts.
 */
#ifndef PATCHER_MODULE_LAY_H
#define PATCHER_MODULE_LAY_H

#include "hypercalls/manifest.h"
#include "hypercalls/module_plan.h"
#include "patcher/image.h"

/* A plan of a file: checked (module_plan_check()), with the section of the image that each of its sections is. */
struct module_plan_read {
	const uint8_t *bytes; /* 4-byte aligned; NULL: there is no such plan */
	size_t size;
	const struct image_section *sections[MODULE_PLAN_SECTIONS];
};

struct module_laid {
	struct manifest
	    m; /* windows, sites, points, originals; `verified` has the parts of sections that are not obscure */
	uint8_t *image; /* img->elf with the windows over it */
	uint8_t *
	    starts; /* for each byte from image_module_base(32) on: 1 where the plan has an instruction start */
	uint8_t *stubs; /* m.h.stubs_size bytes at hole + ABI_STUBS */
	const struct image *img;
};

/* -EINVAL with the place when a window cannot be laid. Frees nothing of `plans`. */
int module_lay(struct module_laid *l, const struct image *img, const struct module_plan_read plans[2],
	       struct diag *d);
void module_laid_free(struct module_laid *l);

#endif
