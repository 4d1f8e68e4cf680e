// SPDX-License-Identifier: GPL-3.0-or-later
/* See online.h. A handful of entries a kernel, so a list will do. */
#include "monitor/vmm/online.h"

#include "monitor/vmm/mem.h"
#include "monitor/vmm/state.h"

bool online_set(struct vm *vm, struct gpa at, unsigned len)
{
	struct code *c = &vm->vmm->code;
	uint8_t *ram = vm_ram(vm, at, len);

	if (!ram || c->n_online == ONLINE_BREAKPOINTS)
		return false;
	c->online[c->n_online] = (struct online_breakpoint){.at = (uint32_t)at.a, .len = (uint8_t)len};
	mem_copy(c->online[c->n_online].bytes, ram, len);
	c->n_online++;
	mem_set(ram, 0xcc, len);
	return true;
}

void online_clear(struct vm *vm, uint32_t pfn)
{
	struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++) {
		struct online_breakpoint *b = &c->online[i];

		if (b->at >> PAGE_SHIFT != pfn && (b->at + b->len - 1) >> PAGE_SHIFT != pfn)
			continue;
		mem_copy(vm_ram(vm, gpa(b->at), b->len), b->bytes, b->len);
		*b = c->online[--c->n_online];
		i--;
	}
}

bool online_touches(const struct vm *vm, struct gpa at, uint32_t n)
{
	const struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++)
		if (c->online[i].at < at.a + n && c->online[i].at + c->online[i].len > at.a)
			return true;
	return false;
}

unsigned online_at(const struct vm *vm, struct gpa at)
{
	const struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++)
		if (c->online[i].at == at.a)
			return c->online[i].len;
	return 0;
}

void online_original(const struct vm *vm, struct gpa at, uint8_t *bytes, uint32_t n)
{
	const struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++)
		for (uint32_t k = 0; k < c->online[i].len; k++)
			if (c->online[i].at + k - at.a < n)
				bytes[c->online[i].at + k - at.a] = c->online[i].bytes[k];
}

void online_differ(const struct vm *vm, struct gpa at, uint8_t *bytes, uint32_t n)
{
	const struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++)
		for (uint32_t k = 0; k < c->online[i].len; k++)
			if (c->online[i].at + k - at.a < n)
				bytes[c->online[i].at + k - at.a] = c->online[i].bytes[k] == 0xcd ? 0 : c->online[i].bytes[k] ^ 1;
}
