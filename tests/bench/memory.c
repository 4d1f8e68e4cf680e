// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Page faults and page tables. A fault row touches every page of a fresh mapping and removes it again: the time
 * of a page holds its share of mmap and munmap, because a monitor pays for both ends. Huge pages are asked for or
 * refused by madvise, so that the setting of guest and host does not matter.
 */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1024, SMALL = 16 };

static int file = -1;
static uint8_t *big;
static uint32_t state;

static uint8_t *map(unsigned pages, int flags, int fd, int advice)
{
	uint8_t *p =
	    mmap(NULL, (size_t)pages * PAGE, fd < 0 ? PROT_READ | PROT_WRITE : PROT_READ, flags, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	if (advice)
		madvise(p, (size_t)pages * PAGE, advice);
	return p;
}

static void touch(uint8_t *p, unsigned pages)
{
	unsigned i;

	for (i = 0; i < pages; i++)
		((volatile uint8_t *)p)[(size_t)i * PAGE] = 1;
}

static void fault_pass(unsigned pages, int advice)
{
	uint8_t *p = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1, advice);

	touch(p, pages);
	munmap(p, (size_t)pages * PAGE);
}

static void fault_anon(unsigned n)
{
	while (n--)
		fault_pass(PAGES, MADV_NOHUGEPAGE);
}

static void fault_huge(unsigned n)
{
	while (n--)
		fault_pass(big_pages(), MADV_HUGEPAGE);
}

static void file_setup(void)
{
	static const uint8_t page[PAGE] = {1};
	char path[128];
	unsigned i;

	snprintf(path, sizeof path, "%s/fault", conf.dir);
	file = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (file < 0)
		die(path);
	unlink(path);
	for (i = 0; i < PAGES; i++)
		if (write(file, page, PAGE) != PAGE)
			die("write");
}

static void fault_file(unsigned n)
{
	while (n--) {
		uint8_t *p = map(PAGES, MAP_SHARED, file, 0);
		unsigned i, sum = 0;

		for (i = 0; i < PAGES; i++)
			sum += ((volatile uint8_t *)p)[i * PAGE];
		if (sum != PAGES)
			die("fault-file: wrong contents");
		munmap(p, PAGES * PAGE);
	}
}

static void file_teardown(void)
{
	close(file);
	file = -1;
}

static void mmap_munmap(unsigned n)
{
	while (n--) {
		uint8_t *p = map(SMALL, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		touch(p, 1);
		munmap(p, SMALL * PAGE);
	}
}

static void random_setup(void)
{
	big = map(big_pages(), MAP_PRIVATE | MAP_ANONYMOUS, -1, MADV_NOHUGEPAGE);
	touch(big, big_pages());
	state = 1;
}

static void random_run(unsigned n)
{
	unsigned words = big_pages() * (PAGE / 4);
	uint32_t s = state, *p = (uint32_t *)big;

	while (n--)
		p[(uint64_t)bench_random(&s) * words >> 32]++;
	state = s;
}

static void random_teardown(void)
{
	munmap(big, (size_t)big_pages() * PAGE);
}

const struct row memory_rows[] = {
    {.name = "fault-anon", .run = fault_anon, .per = PAGES},
    {.name = "fault-huge", .run = fault_huge, .whole_big = true},
    {.name = "fault-file", .setup = file_setup, .run = fault_file, .teardown = file_teardown, .per = PAGES},
    {.name = "mmap-munmap", .run = mmap_munmap},
    {.name = "random-access", .setup = random_setup, .run = random_run, .teardown = random_teardown},
    {.name = NULL},
};
