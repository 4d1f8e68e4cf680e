// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The image to run: an i386 ELF, patched (it carries a manifest) or, for Multiboot guests, as it came from the
 * linker; or, when asked for, a Linux kernel that was never patched. Opening checks everything that can be checked without a machine; loader.h puts it into one.
 */
#ifndef MONITOR_VMX_IMAGE_H
#define MONITOR_VMX_IMAGE_H

#include <stdbool.h>

#include "hypercalls/manifest.h"

#define IMAGE_FILE_MAX (512u << 20)
#define IMAGE_SEGMENTS_MAX 64
#define LINUX_PAGE_OFFSET 0xc0000000u /* link minus physical address of a Linux whose file does not say: VMSPLIT_3G */

struct guest_segment {
	uint32_t va, pa, file_offset, file_size,
	    mem_size; /* file_offset + file_size checked against the file */
};

struct guest_image {
	const char *path;
	const uint8_t *file;
	size_t size;
	bool patched;	/* has a manifest */
	bool multiboot; /* enter by the Multiboot protocol, else by Linux's */
	struct manifest manifest;
	struct guest_segment segments[IMAGE_SEGMENTS_MAX]; /* PT_LOAD except the stubs */
	unsigned n_segments;
	struct guest_segment stubs; /* mem_size 0 without */
	const uint8_t *setup;	    /* of a bzImage: its setup header, inside `file`; NULL without */
	size_t setup_size;
	const uint8_t *undo;	    /* section .paravane.undo, inside `file`; NULL without */
	size_t undo_size;
	uint32_t entry;	      /* physical */
	uint32_t start, end;  /* physical range of all segments */
	uint32_t alias_delta; /* link minus physical address where the entry lies */
};

/*
 * Returns 0, -EKEYREJECTED when image and manifest do not match (a patched file edited by hand, a manifest
 * from elsewhere, damage), another -errno for files that are no guest image.
 */
int guest_image_open(struct guest_image *g, const char *path, struct diag *d);
/*
 * The same for a Linux kernel that was not patched, a bzImage or its vmlinux: all of its CPL 0 code will be
 * translated. A bzImage is not unpacked here: its own code does that, in the guest.
 */
int guest_image_open_unpatched(struct guest_image *g, const char *path, struct diag *d);
/* The bytes are in the guest's memory and needed no more; the manifest stays. */
void guest_image_unload(struct guest_image *g);
void guest_image_close(struct guest_image *g);

/* Offset in the file of the bytes at link address va, or -1 unless all of [va, va + size) is file-backed. */
int64_t guest_image_offset(const struct guest_image *g, uint32_t va, uint32_t size);
/* Pointer to the file's bytes at link address va, or NULL unless all of [va, va + size) is file-backed. */
const uint8_t *guest_image_at(const struct guest_image *g, uint32_t va, uint32_t size);

/* Original bytes of an instruction at va, as before patching; false if not in the image or cut by a window. */
bool guest_image_original(const struct guest_image *g, uint32_t va, uint8_t *buf, uint32_t size);

#endif
