// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the real-mode setup code of a bzImage would have left behind: a zeroed boot_params page with a copy of
 * the setup header, the memory map and where command line and initrd lie.
 */
#include "monitor/vmx/linux_boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in boot_params: zero-page.rst; from 0x1f1 the setup header: boot.rst, "Details of header fields". */
enum {
	BP_EXT_MEM_K = 0x002,
	BP_ALT_MEM_K = 0x1e0,
	BP_E820_ENTRIES = 0x1e8,
	BP_HDR = 0x1f1,
	BP_VID_MODE = 0x1fa,
	BP_BOOT_FLAG = 0x1fe,
	BP_JUMP = 0x200, /* EB xx: the header ends at 0x202 + xx */
	BP_HEADER = 0x202,
	BP_VERSION = 0x206,
	BP_TYPE_OF_LOADER = 0x210,
	BP_LOADFLAGS = 0x211,
	BP_CODE32_START = 0x214,
	BP_RAMDISK_IMAGE = 0x218,
	BP_RAMDISK_SIZE = 0x21c,
	BP_CMD_LINE_PTR = 0x228,
	BP_INITRD_ADDR_MAX = 0x22c,
	BP_CMDLINE_SIZE = 0x238,
	BP_SETUP_DATA = 0x250,
	BP_HDR_END = 0x290, /* the next field of boot_params */
	BP_E820 = 0x2d0,
	BP_SIZE = 0x1000,
};
enum { LOADED_HIGH = 1, KEEP_SEGMENTS = 0x40, CAN_USE_HEAP = 0x80 };
enum { E820_RAM = 1, E820_RESERVED = 2 };

struct e820_entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* An ELF kernel that was patched without its bzImage brings no header: give what protocol 2.12 promises. */
static void default_header(uint8_t *bp)
{
	put16(bp + BP_VERSION, 0x20c);
	put32(bp + BP_INITRD_ADDR_MAX, 0x37ffffff);
	put32(bp + BP_CMDLINE_SIZE, 2047);
}

static int copy_header(uint8_t *bp, const struct guest_image *g, struct diag *d)
{
	const struct manifest_header *h = &g->manifest.h;
	const uint8_t *setup = g->patched ? g->manifest.originals + h->setup_offset : g->setup;
	size_t end = BP_HDR_END, size = g->patched ? h->setup_size : g->setup_size;

	if (!size) {
		default_header(bp);
	} else {
		if (size < BP_CMDLINE_SIZE + 4 - BP_HDR)
			return diag_set(d, -EINVAL,
					"%s: setup header of %zu bytes: boot protocol older than 2.06",
					g->path, size);
		if (size < end - BP_HDR)
			end = BP_HDR + size;
		memcpy(bp + BP_HDR, setup, end - BP_HDR);
		if (BP_HEADER + bp[BP_JUMP + 1] <
		    BP_HDR_END) /* behind the header's own end stands code, not header */
			memset(bp + BP_HEADER + bp[BP_JUMP + 1], 0, BP_HDR_END - BP_HEADER - bp[BP_JUMP + 1]);
		if (memcmp(bp + BP_HEADER, "HdrS", 4))
			return diag_set(d, -EINVAL, "%s: setup header without its HdrS mark", g->path);
	}
	put16(bp + BP_BOOT_FLAG, 0xaa55);
	memcpy(bp + BP_HEADER, "HdrS", 4);
	put16(bp + BP_VID_MODE, 0xffff); /* "normal" */
	bp[BP_TYPE_OF_LOADER] = 0xff;	 /* no assigned number */
	bp[BP_LOADFLAGS] = (bp[BP_LOADFLAGS] | LOADED_HIGH) & ~(KEEP_SEGMENTS | CAN_USE_HEAP);
	put32(bp + BP_CODE32_START, g->entry);
	put32(bp + BP_SETUP_DATA, 0);
	return 0;
}

static void memory_map(uint8_t *bp, uint64_t ram)
{
	const struct e820_entry map[] = {
	    {0, LOW_RAM_END, E820_RAM},
	    {LOW_RAM_END, HIGH_RAM - LOW_RAM_END, E820_RESERVED},
	    {HIGH_RAM, ram - HIGH_RAM, E820_RAM},
	};
	uint32_t above_k = (ram - HIGH_RAM) >> 10;

	memcpy(bp + BP_E820, map, sizeof(map));
	bp[BP_E820_ENTRIES] = ARRAY_LEN(map);
	put32(bp + BP_ALT_MEM_K, above_k);
	put16(bp + BP_EXT_MEM_K, above_k > 0xfc00 ? 0xfc00 : above_k);
}

static int place_cmdline(uint8_t *bp, const struct guest_image *g, struct vm *vm, const char *append,
			 struct diag *d)
{
	uint32_t max = get32(bp + BP_CMDLINE_SIZE);
	char *line = loader_cmdline(g, append);
	size_t len;
	int err = 0;

	if (!line)
		return diag_set(d, -ENOMEM, "out of memory");
	len = strlen(line);
	if (max > LOW_RAM_END - LOW_CMDLINE - 1)
		max = LOW_RAM_END - LOW_CMDLINE - 1;
	if (len > max)
		err = diag_set(d, -EINVAL, "--append: the command line has %zu bytes; this kernel takes %u",
			       len, max);
	else
		memcpy(vm_ram(vm, gpa(LOW_CMDLINE), len + 1), line, len + 1);
	put32(bp + BP_CMD_LINE_PTR, LOW_CMDLINE);
	free(line);
	return err;
}

/*
 * As high as the kernel can map it from the start. Linux moves an initrd that lies above its direct mapping
 * (slow), and the hole takes 128 MiB from that, vmalloc another 128 MiB: keep 32 MiB clear of both.
 */
static uint64_t initrd_limit(const uint8_t *bp, const struct vm *vm)
{
	uint64_t max = (uint64_t)get32(bp + BP_INITRD_ADDR_MAX) + 1;
	uint64_t lowmem = (uint64_t)vm->cfg.hole_base - vm->cfg.kernel_split - (160u << 20);

	return vm->cfg.hole_base > vm->cfg.kernel_split && lowmem < max ? lowmem : max;
}

static int place_initrd(uint8_t *bp, const struct guest_image *g, struct vm *vm, const struct boot_args *args,
			struct diag *d)
{
	uint32_t at;

	if (!args->initrd_size)
		return 0;
	at = loader_high(g, vm, args->initrd_size, initrd_limit(bp, vm));
	if (!at)
		return loader_no_room(g, vm, args, d);
	put32(bp + BP_RAMDISK_IMAGE, at);
	put32(bp + BP_RAMDISK_SIZE, args->initrd_size);
	return loader_fill(vm, at, args->initrd, args->initrd_size, d);
}

int linux_boot(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d)
{
	uint8_t *bp = vm_ram(vm, gpa(LOW_INFO), BP_SIZE);
	int err;

	memset(bp, 0, BP_SIZE); /* screen_info too: no video */
	if ((err = copy_header(bp, g, d)) || (err = place_cmdline(bp, g, vm, args->append, d)) ||
	    (err = place_initrd(bp, g, vm, args, d)))
		return err;
	memory_map(bp, vm->cfg.ram_size);
	vm->vcpu.gpr[REG_SI] = LOW_INFO;
	return 0;
}
