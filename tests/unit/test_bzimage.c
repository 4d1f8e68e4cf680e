// SPDX-License-Identifier: GPL-3.0-or-later
/* Unpatched bzImages: a made-up header with each field that the boot protocol lets a loader rely on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/vmx/bzimage.h"
#include "monitor/vmx/loader.h"

#define SECTS 3
#define KERNEL (SECTS + 1) * 512
#define SIZE (KERNEL + 1000)

static uint8_t file[SIZE];
static struct diag d;

static void put32(unsigned at, uint32_t v)
{
	memcpy(file + at, &v, 4);
}

static struct guest_image image(void)
{
	memset(file, 0, sizeof(file));
	file[0x1f1] = SECTS;
	memcpy(file + 0x202, "HdrS", 4);
	file[0x206] = 0x0f, file[0x207] = 0x02;
	file[0x211] = 1;
	put32(0x230, 0x200000);
	put32(0x258, 0x1000000);
	put32(0x260, 0x1800000);
	d = (struct diag){""};
	return (struct guest_image){.path = "vmlinuz", .file = file, .size = SIZE};
}

static void placed_at_one_megabyte(void **state)
{
	struct guest_image g = image();

	(void)state;
	assert_true(bzimage_is(&g));
	assert_int_equal(bzimage_parse(&g, &d), 0);
	assert_int_equal(g.n_segments, 1);
	assert_int_equal(g.segments[0].pa, HIGH_RAM);
	assert_int_equal(g.segments[0].file_offset, KERNEL);
	assert_int_equal(g.segments[0].file_size, 1000);
	assert_int_equal(g.entry, HIGH_RAM);
	assert_int_equal(g.end,
			 0x1000000 + 0x200000 + 0x1800000); /* room to unpack, wherever it aligns itself */
	assert_ptr_equal(g.setup, file + 0x1f1);
	assert_false(g.patched);
}

static void four_sectors_when_unsaid(void **state)
{
	struct guest_image g = image();

	(void)state;
	file[0x1f1] = 0;
	assert_int_equal(bzimage_parse(&g, &d), 0);
	assert_int_equal(g.segments[0].file_offset, 5 * 512);
}

static void refusals(void **state)
{
	struct guest_image g = image();

	(void)state;
	file[0x206] = 0x09;
	assert_int_equal(bzimage_parse(&g, &d), -EINVAL);
	g = image();
	file[0x211] = 0; /* a zImage: loads below 640 KiB */
	assert_int_equal(bzimage_parse(&g, &d), -EINVAL);
	g = image();
	g.size = KERNEL; /* nothing behind the setup code */
	assert_int_equal(bzimage_parse(&g, &d), -EINVAL);
	g = image();
	put32(0x260, 0xf0000000);
	assert_int_equal(bzimage_parse(&g, &d), -EINVAL);
	assert_non_null(strstr(d.text, "absurd"));
	g = image();
	file[0x202] = 'X';
	assert_false(bzimage_is(&g));
	g.size = 0x203;
	assert_false(bzimage_is(&g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(placed_at_one_megabyte),
	    cmocka_unit_test(four_sectors_when_unsaid),
	    cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
