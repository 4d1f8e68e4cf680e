// SPDX-License-Identifier: GPL-3.0-or-later
/* What the boot protocols find in memory, and what the loader refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/vmx/linux_boot.h"
#include "monitor/vmx/loader.h"
#include "monitor/vmx/memory.h"
#include "monitor/vmx/multiboot.h"

#define RAM (64u << 20)
#define KERNEL 0x1000000
#define KERNEL_END 0x2000000

static struct vm *vm;
static struct diag d;
static uint8_t setup_bytes[0x290 - 0x1f1];
static char strings[] = "\0reservetop=0x8000000 noreplace-smp";

static uint8_t *ram(uint32_t at)
{
	return (uint8_t *)RAM_BASE + at;
}

static uint32_t word(uint32_t at)
{
	uint32_t v;

	memcpy(&v, ram(at), sizeof(v));
	return v;
}

/* A kernel as `paravane patch` leaves it, with the setup header of a protocol 2.15 bzImage. */
static struct guest_image kernel(void)
{
	static uint8_t file[64] = "kernel";
	struct guest_image g = {.path = "vmlinux.pv", .file = file, .size = sizeof(file), .patched = true};

	memset(setup_bytes, 0, sizeof(setup_bytes));
	memcpy(setup_bytes + (0x1fe - 0x1f1), "\x55\xaa\xeb\x6aHdrS\x0f\x02", 10);
	setup_bytes[0x211 - 0x1f1] = 0xc1; /* LOADED_HIGH, KEEP_SEGMENTS, CAN_USE_HEAP */
	memcpy(setup_bytes + (0x22c - 0x1f1), "\xff\xff\xff\x37", 4); /* initrd_addr_max */
	memcpy(setup_bytes + (0x238 - 0x1f1), "\xff\x07\0\0", 4);     /* cmdline_size 2047 */
	memcpy(setup_bytes + (0x26c - 0x1f1), "code", 4); /* what follows the header in a bzImage */
	g.manifest.originals = setup_bytes;
	g.manifest.h.setup_size = sizeof(setup_bytes);
	g.manifest.strings = strings;
	g.manifest.h.append = 1;
	g.manifest.h.alias_delta = 0xc0000000;
	g.segments[0] = (struct guest_segment){0xc1000000, KERNEL, 0, sizeof(file), KERNEL_END - KERNEL};
	g.n_segments = 1;
	g.entry = g.start = KERNEL;
	g.end = KERNEL_END;
	return g;
}

static int place(const struct guest_image *g, const char *append, const uint8_t *initrd, size_t size)
{
	struct boot_args args = {append, "initrd.gz", initrd, size};

	d = (struct diag){""};
	return loader_place(g, vm, &args, &d);
}

static void boot_params(void **state)
{
	struct guest_image g = kernel();

	(void)state;
	memset(ram(LOW_INFO), 0xaa, 0x1000); /* must not matter */
	assert_int_equal(place(&g, "console=ttyS0", (const uint8_t *)"initrd", 6), 0);
	assert_memory_equal(ram(LOW_INFO + 0x202), "HdrS", 4);
	assert_int_equal(*ram(LOW_INFO + 0x1ef), 0); /* the sentinel: bootparam.h */
	assert_int_equal(*ram(LOW_INFO + 0x210), 0xff);
	assert_int_equal(*ram(LOW_INFO + 0x211), 1); /* loaded high; no heap, segments reloaded */
	assert_int_equal(word(LOW_INFO + 0x26c), 0);
	assert_int_equal(word(LOW_INFO + 0x250), 0); /* setup_data */
	assert_int_equal(word(LOW_INFO + 0x1e0), (RAM >> 10) - 1024);
	assert_string_equal((char *)ram(word(LOW_INFO + 0x228)),
			    "console=ttyS0 reservetop=0x8000000 noreplace-smp");
	/* The initrd: high, page-aligned, whole. */
	assert_int_equal(word(LOW_INFO + 0x21c), 6);
	assert_int_equal(word(LOW_INFO + 0x218), RAM - 4096);
	assert_memory_equal(ram(RAM - 4096), "initrd", 6);
	assert_memory_equal(ram(KERNEL), "kernel", 6);
}

static void memory_map(void **state)
{
	static const struct {
		uint64_t addr, size;
		uint32_t type;
	} want[] = {{0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}, {0x100000, RAM - 0x100000, 1}};
	struct guest_image g = kernel();

	(void)state;
	assert_int_equal(place(&g, "", NULL, 0), 0);
	assert_int_equal(*ram(LOW_INFO + 0x1e8), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_memory_equal(ram(LOW_INFO + 0x2d0 + 20 * i), &want[i].addr, 8);
		assert_memory_equal(ram(LOW_INFO + 0x2d8 + 20 * i), &want[i].size, 8);
		assert_int_equal(word(LOW_INFO + 0x2e0 + 20 * i), want[i].type);
	}
	assert_int_equal(word(LOW_INFO + 0x218), 0);
	assert_int_equal(word(LOW_INFO + 0x21c), 0);
}

static void entry_state(void **state)
{
	struct guest_image g = kernel();
	const struct vcpu *v = &vm->vcpu;

	(void)state;
	assert_int_equal(place(&g, "", NULL, 0), 0);
	assert_int_equal(v->eip, KERNEL);
	assert_int_equal(v->gpr[REG_SI], LOW_INFO);
	assert_int_equal(v->gpr[REG_BP] | v->gpr[REG_DI] | v->gpr[REG_BX], 0);
	assert_int_equal(v->cr0, CR0_PE | CR0_ET);
	assert_int_equal(v->eflags, FL_FIXED);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->exc_vector, EXC_NONE);
	for (int s = 0; s < SEG_COUNT; s++) {
		assert_int_equal(v->seg[s].sel, s == SEG_CS ? 0x10 : 0x18);
		assert_int_equal(v->seg[s].base, 0);
		assert_int_equal(v->seg[s].limit, 0xffffffff);
		/* The hidden part must be what the GDT in memory says. */
		assert_int_equal(v->seg[s].attr, word(v->gdtr.base + v->seg[s].sel + 4) & ATTR_MASK);
	}
	assert_int_equal(vm->cfg.alias_delta, 0xc0000000);
	assert_int_equal(vm->cfg.kernel_split, 0xc0000000);
	assert_int_equal(vm->cfg.image_start, KERNEL);
	assert_int_equal(vm->cfg.image_end, KERNEL_END);
}

static void recipe_options_once(void **state)
{
	static const struct {
		const char *append, *line;
	} cases[] = {
	    {"", "reservetop=0x8000000 noreplace-smp"},
	    {"quiet noreplace-smp", "quiet noreplace-smp reservetop=0x8000000"},
	    {"reservetop=0x8000000 noreplace-smp", "reservetop=0x8000000 noreplace-smp"},
	    {"xnoreplace-smp noreplace-smpx",
	     "xnoreplace-smp noreplace-smpx reservetop=0x8000000 noreplace-smp"},
	};
	struct guest_image g = kernel();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *line = loader_cmdline(&g, cases[i].append);

		assert_string_equal(line, cases[i].line);
		free(line);
	}
}

static void without_setup_header(void **state)
{
	struct guest_image g = kernel();

	(void)state;
	g.manifest.h.setup_size = 0;
	assert_int_equal(place(&g, "", (const uint8_t *)"x", 1), 0);
	assert_memory_equal(ram(LOW_INFO + 0x202), "HdrS", 4);
	assert_int_equal(word(LOW_INFO + 0x218), RAM - 4096);
}

static void initrd_stays_below_the_kernels_limit(void **state)
{
	struct guest_image g = kernel();

	(void)state;
	memcpy(setup_bytes + (0x22c - 0x1f1), "\xff\xff\x7f\x03", 4); /* initrd_addr_max 0x37fffff */
	assert_int_equal(place(&g, "", (const uint8_t *)"x", 1), 0);
	assert_int_equal(word(LOW_INFO + 0x218), 0x37ff000);
}

static void what_does_not_fit(void **state)
{
	static char long_line[2100];
	struct guest_image g = kernel();
	uint8_t *big = malloc(40 << 20);

	(void)state;
	memset(long_line, 'a', sizeof(long_line) - 1);
	assert_int_equal(place(&g, long_line, NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "2047"));
	assert_int_equal(place(&g, "", big, 40 << 20), -EINVAL);
	assert_non_null(strstr(d.text, "initrd.gz: does not fit"));
	assert_non_null(strstr(d.text, "--memory"));
	g.segments[0].mem_size = RAM;
	g.end = KERNEL + RAM;
	assert_int_equal(place(&g, "", NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "vmlinux.pv: does not fit"));
	g.segments[0].pa = LOW_CMDLINE;
	g.segments[0].mem_size = 0x1000;
	assert_int_equal(place(&g, "", NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "boot data"));
	free(big);
}

static void damaged_setup_header(void **state)
{
	struct guest_image g = kernel();

	(void)state;
	setup_bytes[0x202 - 0x1f1] = 'X';
	assert_int_equal(place(&g, "", NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "HdrS"));
	g = kernel();
	g.manifest.h.setup_size = 0x10;
	assert_int_equal(place(&g, "", NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "boot protocol"));
}

static void multiboot_information(void **state)
{
	static const uint32_t header[] = {0x1badb002, 3, -(0x1badb002u + 3)};
	static uint8_t file[64];
	struct guest_image g = {.path = "flat",
				.file = file,
				.size = sizeof(file),
				.multiboot = true,
				.n_segments = 1,
				.segments = {{0x100000, 0x100000, 0, sizeof(file), 0x1000}},
				.entry = 0x100010,
				.start = 0x100000,
				.end = 0x101000};

	(void)state;
	memcpy(file + 8, header, sizeof(header));
	assert_true(multiboot_find(file, sizeof(file)));
	assert_int_equal(place(&g, "test=1", (const uint8_t *)"module", 6), 0);
	assert_int_equal(vm->vcpu.gpr[REG_AX], 0x2badb002);
	assert_int_equal(vm->vcpu.gpr[REG_BX], LOW_INFO);
	assert_int_equal(vm->vcpu.eip, 0x100010);
	assert_int_equal(vm->cfg.kernel_split, ABI_HOLE_BASE);
	assert_int_equal(word(LOW_INFO), 0x4d);			  /* memory, command line, modules, map */
	assert_int_equal(word(LOW_INFO + 4), 639);		  /* KiB below 640 */
	assert_int_equal(word(LOW_INFO + 8), (RAM >> 10) - 1024); /* KiB above 1 MiB */
	assert_string_equal((char *)ram(word(LOW_INFO + 16)), "test=1");
	assert_int_equal(word(LOW_INFO + 20), 1);
	assert_memory_equal(ram(word(word(LOW_INFO + 24))), "module", 6);
	assert_int_equal(word(word(LOW_INFO + 24) + 4) - word(word(LOW_INFO + 24)), 6);
	assert_int_equal(word(LOW_INFO + 44), 48); /* two entries of 24 bytes */
	assert_int_equal(word(word(LOW_INFO + 48)), 20);
	file[12] = 7; /* wants video: bit 2 */
	file[16] -= 4;
	assert_true(multiboot_find(file, sizeof(file)));
	assert_int_equal(place(&g, "", NULL, 0), -EINVAL);
	assert_non_null(strstr(d.text, "requires features 0x4"));
	file[16]++;
	assert_false(multiboot_find(file, sizeof(file)));
}

static int setup(void **state)
{
	(void)state;
	vm = calloc(1, sizeof(*vm));
	vm->cfg = (struct vm_config){.ram_size = RAM, .hole_base = ABI_HOLE_BASE, .hole_size = ABI_HOLE_SIZE};
	memory_layout(&vm->cfg);
	return memory_map_ram(&vm->cfg, &d);
}

static int teardown(void **state)
{
	(void)state;
	free(vm);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(boot_params),	     cmocka_unit_test(memory_map),
	    cmocka_unit_test(entry_state),	     cmocka_unit_test(recipe_options_once),
	    cmocka_unit_test(without_setup_header),  cmocka_unit_test(initrd_stays_below_the_kernels_limit),
	    cmocka_unit_test(what_does_not_fit),     cmocka_unit_test(damaged_setup_header),
	    cmocka_unit_test(multiboot_information),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
