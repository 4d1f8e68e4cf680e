// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Compatibility mode needs a present code segment of DPL 3 with L clear and D set (SDM 3A 5.2.1). LAR tells of
 * every descriptor that CPL 3 may see, without a trap, so the GDT can be searched and an LDT entry looked for
 * after modify_ldt.
 */
#include "monitor/probe/mode.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "monitor/probe/child.h"

#define GDT_SELECTORS 8192

static bool lar(unsigned selector, uint32_t *rights)
{
	bool ok;

	__asm__("lar %2, %0" : "=r"(*rights), "=@ccz"(ok) : "r"(selector) : "cc");
	return ok;
}

/* SDM 3A 3.4.5: P, DPL 3, S, code; L clear, D set. */
static bool is_code32(uint32_t rights)
{
	return (rights & 0xf800) == 0xf800 && (rights & 0x600000) == 0x400000;
}

static const char *look_at_ldt(char *to, size_t cap)
{
	static const uint8_t code[] = {0xb9, CHILD_LDT_CODE32, 0, 0, 0, 0x0f, 0x02, 0xc9}; /* lar %ecx,%ecx */
	const struct experiment e = {
	    .code = code, .end = code + sizeof(code), .width = 64, .setup = child_make_code32};
	struct probe_result r;

	child_run(&e, 0, 0, &r);
	if (r.setup_errno)
		snprintf(to, cap, "modify_ldt fails: %s", strerror(r.setup_errno));
	else if (!r.done || r.trapped)
		snprintf(to, cap, "LAR of a segment made by modify_ldt did not come back");
	else if (r.regs.rflags & 0x40 && is_code32(r.regs.rcx))
		return NULL;
	else
		snprintf(to, cap,
			 "modify_ldt installs one and succeeds, but LAR 0x%x gives ZF=%d, so that "
			 "the LDT is not loaded",
			 CHILD_LDT_CODE32, r.regs.rflags & 0x40 ? 1 : 0);
	return to;
}

/* A descriptor is not all: code must run by it and come back. */
static void try_it(struct probe_compat *c, const char *found)
{
	static const uint8_t nop[] = {0x90};
	const struct experiment e = {.code = nop, .end = nop + sizeof(nop), .width = 32};
	struct probe_result r;

	child_run(&e, 0, c->selector, &r);
	if (r.done && !r.trapped) {
		snprintf(c->evidence, sizeof(c->evidence), "%s", found);
		return;
	}
	snprintf(c->evidence, sizeof(c->evidence), "%s, but code in it does not run: %s", found,
		 r.trapped ? "a trap" : "the process does not survive");
	c->selector = 0;
}

void mode_find_compat(struct probe_compat *c)
{
	unsigned visible = 0;
	char found[160];
	uint32_t rights;

	*c = (struct probe_compat){0};
	for (unsigned i = 1; i < GDT_SELECTORS && !c->selector; i++) {
		if (!lar(i * 8 + 3, &rights))
			continue;
		visible++;
		if (is_code32(rights))
			c->selector = i * 8 + 3;
	}
	if (c->selector)
		snprintf(found, sizeof(found), "GDT selector 0x%x is a 32-bit code segment", c->selector);
	else if (!look_at_ldt(found, sizeof(found)))
		c->selector = CHILD_LDT_CODE32,
		snprintf(found, sizeof(found), "modify_ldt makes a 32-bit code segment");
	else
		snprintf(c->evidence, sizeof(c->evidence),
			 "LAR finds %u descriptors in the GDT, none a 32-bit code segment; %s", visible,
			 found);
	if (c->selector)
		try_it(c, found);
}
