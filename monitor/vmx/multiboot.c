// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/multiboot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/vmx/loader.h"

#define HEADER_MAGIC 0x1badb002
#define BOOT_MAGIC 0x2badb002
#define HEADER_SEARCH 8192
#define FLAGS_REQUIRED                                                                                       \
	0xfffcu /* bits 0 and 1 (page-aligned modules, memory information) are always granted */

/* Multiboot information, section 3.3; only what is filled. */
enum { INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODS = 8, INFO_MMAP = 0x40 };
struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
	    mmap_length, mmap_addr, rest[16];
};
struct module {
	uint32_t start, end, string, reserved;
};
struct mmap_entry {
	uint32_t size; /* of what follows it */
	uint64_t addr, length;
	uint32_t type;
} __attribute__((packed));

/* All of it in the page that LOW_INFO starts. */
struct info_page {
	struct info info;
	struct module module;
	struct mmap_entry mmap[2];
};

static const uint8_t *find(const uint8_t *file, size_t size)
{
	for (size_t at = 0; at + 12 <= size && at + 12 <= HEADER_SEARCH; at += 4) {
		uint32_t h[3];

		memcpy(h, file + at, sizeof(h));
		if (h[0] == HEADER_MAGIC && h[0] + h[1] + h[2] == 0)
			return file + at;
	}
	return NULL;
}

bool multiboot_find(const uint8_t *file, size_t size)
{
	return find(file, size);
}

static int check_flags(const struct guest_image *g, struct diag *d)
{
	uint32_t flags;

	memcpy(&flags, find(g->file, g->size) + 4, sizeof(flags));
	if (flags & FLAGS_REQUIRED)
		return diag_set(
		    d, -EINVAL,
		    "%s: its Multiboot header requires features 0x%x; only page alignment and memory "
		    "information (bits 0 and 1) are there",
		    g->path, flags & FLAGS_REQUIRED);
	return 0;
}

static int place_cmdline(const struct guest_image *g, struct vm *vm, const char *append, struct diag *d)
{
	char *line = loader_cmdline(g, append);
	size_t len;
	int err = 0;

	if (!line)
		return diag_set(d, -ENOMEM, "out of memory");
	len = strlen(line);
	if (len >= LOW_RAM_END - LOW_CMDLINE)
		err = diag_set(d, -EINVAL, "--append: %zu bytes are too many", len);
	else
		memcpy(vm_ram(vm, gpa(LOW_CMDLINE), len + 1), line, len + 1);
	free(line);
	return err;
}

int multiboot_boot(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d)
{
	struct info_page page = {
	    .info =
		{
		    .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODS | INFO_MMAP,
		    .mem_lower = LOW_RAM_END >> 10,
		    .mem_upper = (vm->cfg.ram_size - HIGH_RAM) >> 10,
		    .cmdline = LOW_CMDLINE,
		    .mods_addr = LOW_INFO + offsetof(struct info_page, module),
		    .mmap_length = sizeof(page.mmap),
		    .mmap_addr = LOW_INFO + offsetof(struct info_page, mmap),
		},
	    .mmap = {{20, 0, LOW_RAM_END, 1}, {20, HIGH_RAM, vm->cfg.ram_size - HIGH_RAM, 1}},
	};
	int err;

	if ((err = check_flags(g, d)) || (err = place_cmdline(g, vm, args->append, d)))
		return err;
	if (args->initrd_size) {
		uint32_t at = loader_high(g, vm, args->initrd_size, UINT32_MAX);

		if (!at)
			return loader_no_room(g, vm, args, d);
		if ((err = loader_fill(vm, at, args->initrd, args->initrd_size, d)))
			return err;
		page.module = (struct module){at, at + (uint32_t)args->initrd_size, LOW_CMDLINE, 0};
		page.info.mods_count = 1;
	}
	memcpy(vm_ram(vm, gpa(LOW_INFO), sizeof(page)), &page, sizeof(page));
	vm->vcpu.gpr[REG_AX] = BOOT_MAGIC;
	vm->vcpu.gpr[REG_BX] = LOW_INFO;
	return 0;
}
