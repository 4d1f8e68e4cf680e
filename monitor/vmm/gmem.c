// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmm/gmem.h"

#include <errno.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/vm.h"

static size_t page_rest(struct gva at, size_t size)
{
	size_t rest = PAGE_SIZE - (at.a & ~PAGE_MASK);

	return size < rest ? size : rest;
}

static int translate(struct vm *vm, struct gva at, unsigned access, struct gpa *pa)
{
	struct walk w;

	if (paging_walk(vm, at, access, &w) < 0)
		return vcpu_raise_pf(&vm->vcpu, at, w.error);
	paging_mark(vm, &w, access & ACCESS_WRITE);
	*pa = w.at;
	return 0;
}

/* Within one page. The monitor's own mapping is writable: a code page must be made data here, no fault will do it. */
static void store(struct vm *vm, struct gpa at, const void *buf, size_t size)
{
	void *p = vm_ram(vm, at, size);
	uint32_t pfn = (uint32_t)(at.a >> PAGE_SHIFT);

	if (!p)
		return;
	if (code_protected(vm, pfn))
		code_demote(vm, pfn);
	mem_copy(p, buf, size);
}

int gmem_probe_write(struct vm *vm, struct gva at, size_t size, unsigned access)
{
	struct gpa pa;
	int err = translate(vm, at, access | ACCESS_WRITE, &pa);

	return err || page_rest(at, size) == size
		   ? err
		   : translate(vm, gva(at.a + (uint32_t)page_rest(at, size)), access | ACCESS_WRITE, &pa);
}

int gmem_read(struct vm *vm, struct gva at, void *buf, size_t size, unsigned access)
{
	uint8_t *to = buf;
	struct gpa pa;
	size_t n;
	void *p;

	for (; size; size -= n, to += n, at.a += (uint32_t)n) {
		n = page_rest(at, size);
		if (translate(vm, at, access & ~ACCESS_WRITE, &pa) < 0)
			return -EFAULT;
		p = vm_ram(vm, pa, n);
		if (p)
			mem_copy(to, p, n);
		else
			mem_set(to, 0xff, n);
	}
	return 0;
}

int gmem_write(struct vm *vm, struct gva at, const void *buf, size_t size, unsigned access)
{
	const uint8_t *from = buf;
	struct gva page = at;
	size_t left, n;
	struct walk w;
	struct gpa pa;

	access = (access & ~ACCESS_FETCH) | ACCESS_WRITE;
	/* One page needs no look ahead: it is checked before anything is stored. */
	for (left = page_rest(at, size) < size ? size : 0; left; left -= n, page.a += (uint32_t)n) {
		n = page_rest(page, left);
		if (paging_walk(vm, page, access, &w) < 0)
			return vcpu_raise_pf(&vm->vcpu, page, w.error);
	}
	for (; size; size -= n, from += n, at.a += (uint32_t)n) {
		n = page_rest(at, size);
		if (translate(vm, at, access, &pa) < 0)
			return -EFAULT;
		store(vm, pa, from, n);
	}
	return 0;
}

void gmem_write_phys(struct vm *vm, struct gpa at, const void *buf, size_t size)
{
	size_t n;
	const uint8_t *from = buf;

	for (; size; size -= n, from += n, at.a += n) {
		n = page_rest(gva((uint32_t)at.a), size);
		store(vm, at, from, n);
	}
}
