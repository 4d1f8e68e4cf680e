// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmm/gmem.h"

#include <errno.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/vm.h"

static size_t page_rest(struct gva at, size_t size)
{
	size_t rest = PAGE_SIZE - (at.a & ~PAGE_MASK);

	return size < rest ? size : rest;
}

static struct gmem_page *entry_of(struct vm *vm, struct gva at, unsigned access)
{
	unsigned kind = (access & ACCESS_WRITE ? 1 : 0) + (access & ACCESS_USER ? 2 : 0);

	return &vm->tlb.entry[kind][(at.a >> PAGE_SHIFT) % GMEM_TLB_PAGES];
}

void gmem_forget_page(struct vm *vm, struct gva at)
{
	for (unsigned kind = 0; kind < 4; kind++)
		vm->tlb.entry[kind][(at.a >> PAGE_SHIFT) % GMEM_TLB_PAGES].page = 0;
}

void gmem_forget(struct vm *vm)
{
	mem_set(&vm->tlb, 0, sizeof(vm->tlb));
}

/* The entry for the page; emptied with all the others when it was filled under another regime. */
static struct gmem_page *look_up(struct vm *vm, struct gva at, unsigned access)
{
	const struct vcpu *v = &vm->vcpu;

	if (vm->tlb.cr3 != v->cr3 || vm->tlb.cr0 != v->cr0 || vm->tlb.cr4 != v->cr4) {
		gmem_forget(vm);
		vm->tlb.cr0 = v->cr0;
		vm->tlb.cr3 = v->cr3;
		vm->tlb.cr4 = v->cr4;
	}
	return entry_of(vm, at, access);
}

static int translate(struct vm *vm, struct gva at, unsigned access, struct gpa *pa)
{
	struct gmem_page *e = look_up(vm, at, access);
	struct walk w;

	if (!(access & ACCESS_FETCH) && e->page == (at.a >> PAGE_SHIFT) + 1) {
		*pa = gpa(e->frame + (at.a & (PAGE_SIZE - 1)));
		return 0;
	}
	if (paging_walk(vm, at, access, &w) < 0)
		return vcpu_raise_pf(&vm->vcpu, at, w.error);
	paging_mark(vm, &w, access & ACCESS_WRITE);
	*pa = w.at;
	if (access & ACCESS_FETCH)
		return 0;
	*e = (struct gmem_page){(at.a >> PAGE_SHIFT) + 1, w.at.a & ~(uint64_t)(PAGE_SIZE - 1)};
	mmu_note_cached(vm, at.a >> PAGE_SHIFT, 1);
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

int gmem_host(struct vm *vm, struct gva at, unsigned access, void **host)
{
	struct gpa pa;
	int err = translate(vm, at, access, &pa);

	if (err)
		return err;
	*host = vm_ram(vm, pa, page_rest(at, PAGE_SIZE));
	if (*host && (access & ACCESS_WRITE) && code_protected(vm, (uint32_t)(pa.a >> PAGE_SHIFT)))
		code_demote(vm, (uint32_t)(pa.a >> PAGE_SHIFT));
	return 0;
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
