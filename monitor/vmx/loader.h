// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.2: Loading the machine
 *
 * Puts an opened image into the machine: segments at their physical addresses, stubs into the tail, boot
 * protocol data into low memory, the first instruction's state into the vCPU, the manifest into the arena.
 *
 * Low memory as the boot protocols leave it (all of it is below the 640 KiB that PCs have there):
 *
 *   0x0f000  GDT     0x10000  boot_params or Multiboot information    0x20000  command line
 */
#ifndef MONITOR_VMX_LOADER_H
#define MONITOR_VMX_LOADER_H

#include "monitor/vmm/vm.h"
#include "monitor/vmx/image.h"

#define LOW_GDT 0x0f000
#define LOW_INFO 0x10000
#define LOW_CMDLINE 0x20000
#define LOW_RAM_END 0x9fc00 /* where a PC's EBDA starts */
#define HIGH_RAM 0x100000

struct boot_args {
	const char *append;	 /* of the user */
	const char *initrd_path; /* for messages */
	const uint8_t *initrd;
	size_t initrd_size; /* 0 without */
};

/* vm->cfg's sizes and offsets are set and its RAM is mapped. Sets the image fields of vm->cfg and vm->vcpu. */
int loader_place(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d);

/* Bytes that loader_tables() wants for the manifest's tables and decoded sites. */
size_t loader_tables_size(const struct manifest *m);
int loader_tables(const struct guest_image *g, struct vm *vm, void *at, struct diag *d);

/* Shared by the two boot protocols. */
/*
 * Bytes into the RAM memfd, by way of its descriptor: to fill a page that is not there yet, the host then neither clears
 * it nor takes a fault.
 */
int loader_fill(const struct vm *vm, uint64_t at, const uint8_t *from, size_t size, struct diag *d);
/* The highest page-aligned place for size bytes that ends at or below limit and above all segments; 0 if none. */
uint32_t loader_high(const struct guest_image *g, const struct vm *vm, size_t size, uint64_t limit);
/* The user's options, then those that the recipe wants and the user did not give. malloc'd; NULL: no memory. */
char *loader_cmdline(const struct guest_image *g, const char *append);
int loader_no_room(const struct guest_image *g, const struct vm *vm, const struct boot_args *args,
		   struct diag *d);

#endif
