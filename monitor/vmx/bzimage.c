// SPDX-License-Identifier: GPL-3.0-or-later
/* See bzimage.h. */
#include "monitor/vmx/bzimage.h"

#include <errno.h>
#include <string.h>

#include "monitor/vmx/loader.h"

/* Offsets in the file, which are those in boot_params. */
enum {
	SETUP_SECTS = 0x1f1,
	HEADER = 0x202,
	VERSION = 0x206,
	LOADFLAGS = 0x211,
	KERNEL_ALIGNMENT = 0x230,
	PREF_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
	SETUP_END = 0x290,
};
enum {
	LOADED_HIGH = 1,
	SECTOR = 512,
	DEFAULT_SECTS = 4,
	PROTOCOL_2_10 = 0x20a /* the first with init_size */
};

bool bzimage_is(const struct guest_image *g)
{
	return g->size > VERSION && !memcmp(g->file + HEADER, "HdrS", 4);
}

int bzimage_parse(struct guest_image *g, struct diag *d)
{
	const uint8_t *f = g->file;
	uint32_t sectors = f[SETUP_SECTS] ? f[SETUP_SECTS] : DEFAULT_SECTS, offset = (sectors + 1) * SECTOR,
		 init_size, align;
	uint64_t preferred, end;
	uint16_t version;

	memcpy(&version, f + VERSION, sizeof(version));
	if (g->size < SETUP_END || version < PROTOCOL_2_10 || !(f[LOADFLAGS] & LOADED_HIGH) ||
	    g->size <= offset)
		return diag_set(d, -EINVAL,
				"%s: boot protocol %#x: a bzImage of 2.10 or later is needed (truncated?)",
				g->path, version);
	memcpy(&align, f + KERNEL_ALIGNMENT, sizeof(align));
	memcpy(&preferred, f + PREF_ADDRESS, sizeof(preferred));
	memcpy(&init_size, f + INIT_SIZE, sizeof(init_size));
	g->setup = f + SETUP_SECTS;
	g->setup_size = SETUP_END - SETUP_SECTS;
	g->segments[g->n_segments++] = (struct guest_segment){.va = HIGH_RAM + LINUX_PAGE_OFFSET,
							      .pa = HIGH_RAM,
							      .file_offset = offset,
							      .file_size = (uint32_t)g->size - offset,
							      .mem_size = (uint32_t)g->size - offset};
	g->alias_delta = LINUX_PAGE_OFFSET;
	g->entry = g->start = HIGH_RAM;
	end = (preferred > HIGH_RAM ? preferred : HIGH_RAM) + align + init_size;
	if (end > LINUX_PAGE_OFFSET)
		return diag_set(d, -EINVAL, "%s: absurd setup header: it asks for memory up to %#llx",
				g->path, (unsigned long long)end);
	g->end = (uint32_t)end;
	return 0;
}
