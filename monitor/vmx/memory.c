// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC /* Linux 6.3, newer than Debian 12's headers */
#define MFD_EXEC 0x10u
#endif

#define BOUNCE_SIZE (4 * PAGE_SIZE)

/* Offsets inside the tail up to the stubs equal those in the hole, so that one mapping serves for all of it. */
void memory_layout(struct vm_config *cfg)
{
	cfg->tail = cfg->ram_size;
	cfg->vcpu_off = cfg->tail + ABI_VCPU_PAGE;
	cfg->gate_off = cfg->tail + ABI_GATE_PAGE;
	cfg->stubs_off = cfg->tail + ABI_STUBS;
	cfg->bounce_off = cfg->stubs_off + ((cfg->stubs_size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1));
	cfg->blocks_off = cfg->bounce_off + BOUNCE_SIZE;
	cfg->lookup_off = cfg->blocks_off + ABI_BLOCKS_SIZE;
	cfg->modules_off = cfg->lookup_off + ABI_LOOKUP_TABLES * ABI_LOOKUP_SIZE;
	cfg->tail_size = cfg->modules_off + ABI_MODULES_SIZE - cfg->tail;
	if (cfg->stubs_size > ABI_MODULES - ABI_STUBS || cfg->hole_size < ABI_BLOCKS + ABI_HOLE_GUARD)
		cfg->modules_off = 0;
}

static int create(const char *name, unsigned flags, size_t size, struct diag *d)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	if (fd < 0 && errno == EINVAL && flags) /* a kernel from before the flag: executable by default */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 && errno == EACCES)
		return diag_set(d, -EACCES,
				"host: executable memfds are forbidden here; set vm.memfd_noexec to 0 or 1");
	if (fd < 0)
		return diag_set(d, -errno, "host: memfd_create: %s", strerror(errno));
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int err = diag_set(d, -errno, "host: a memfd of %zu MiB: %s", size >> 20, strerror(errno));

		close(fd);
		return err;
	}
	return fd;
}

static int map_at(uint64_t at, size_t size, int fd, const char *what, struct diag *d)
{
	void *want = (void *)at;
	void *got =
	    mmap(want, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);

	if (got == MAP_FAILED)
		return diag_set(d, -errno, "host: cannot map %zu MiB of %s at 0x%llx: %s", size >> 20, what,
				(unsigned long long)at, strerror(errno));
	return 0;
}

int memory_map_ram(struct vm_config *cfg, struct diag *d)
{
	size_t size = cfg->tail + cfg->tail_size;
	int fd = create("paravane-ram", MFD_EXEC, size, d), err;

	if (fd < 0)
		return fd;
	err = map_at(RAM_BASE, size, fd, "guest memory", d);
	if (err) {
		close(fd);
		return err;
	}
	cfg->ram_fd = fd;
	return 0;
}

int memory_map_arena(size_t size, struct diag *d)
{
	int fd = create("paravane-arena", 0, size, d), err;

	if (fd < 0)
		return fd;
	err = map_at(ARENA_BASE, size, fd, "monitor state", d);
	close(fd);
	return err;
}
