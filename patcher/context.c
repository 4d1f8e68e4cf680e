// SPDX-License-Identifier: GPL-3.0-or-later
/* Looking up and wording what the kernel's tables say of an address; targets_*.c collect it. */
#include "patcher/context.h"

#include <inttypes.h>
#include <stdio.h>

#define FEATURE_ALWAYS (3 * 32 + 21)
#define LENGTH_MAX 256 /* of one entry: lengths in the tables are bytes */

/*
 * The unwinder meets a replacement where it was copied to; objtool makes the entries there fit both. ORC of the place
 * itself would be what stands behind the code before.
 */
static struct context orc_context(const struct targets *t, uint64_t va, const struct context *found, size_t n)
{
	uint64_t at = va;

	for (size_t i = 0; i < n; i++) {
		if (found[i].role != CONTEXT_REPLACEMENT)
			continue;
		at = found[i].other + (va - found[i].start);
		break;
	}
	return (struct context){.start = va,
				.end = va + 1,
				.feature = CONTEXT_NO_FEATURE,
				.source = TARGET_ORC,
				.frame = orc_at(t->orc, at)};
}

size_t context_find(const struct targets *t, uint64_t va, size_t len, struct context *out, size_t max)
{
	uint64_t from = va < LENGTH_MAX ? 0 : va - LENGTH_MAX;
	size_t lo = 0, hi = t->n_contexts, n = 0;
	bool orc = t->orc && max;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->contexts[mid].start < from)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->n_contexts && t->contexts[lo].start < va + len && n < max - orc; lo++)
		if (t->contexts[lo].end > va)
			out[n++] = t->contexts[lo];
	if (orc) {
		out[n] = orc_context(t, va, out, n);
		n++;
	}
	return n;
}

const char *context_table(const struct context *c)
{
	switch (c->source) {
	case TARGET_ALTERNATIVE:
		return c->feature == CONTEXT_NO_FEATURE ? "thunk calls" : "alternatives";
	case TARGET_EXTABLE:
		return "exception table";
	case TARGET_BUG:
		return "bug table";
	case TARGET_JUMP_LABEL:
		return "jump labels";
	case TARGET_STATIC_CALL:
		return "static calls";
	case TARGET_FTRACE_SITE:
		return "ftrace";
	case TARGET_PARAVIRT:
		return "paravirt";
	case TARGET_SMP_LOCK:
		return "smp locks";
	case TARGET_ORC:
		return "ORC";
	default:
		return "?";
	}
}

const char *context_feature(const struct context *c, char *buf, size_t cap)
{
	const char *name;

	buf[0] = '\0';
	if (c->feature == CONTEXT_NO_FEATURE)
		return buf;
	name = cpu_feature_name(c->feature);
	if (name)
		snprintf(buf, cap, "%s", name);
	else
		snprintf(buf, cap, "word %u bit %u", c->feature / 32, c->feature % 32);
	return buf;
}

/* "native_halt+0x2", ".text+0x1c" or "0xc1000000" */
static void place(const struct image *img, uint64_t va, char *buf, size_t cap)
{
	const struct image_symbol *sym = image_symbol_at(img, va);
	const struct image_section *sec = image_section_at(img, va);

	if (sym)
		snprintf(buf, cap, "%.80s+0x%" PRIx64, sym->name, va - sym->va);
	else if (sec)
		snprintf(buf, cap, "%.80s+0x%" PRIx64, sec->name, va - sec->va);
	else
		snprintf(buf, cap, "0x%" PRIx64, va);
}

static void describe_alternative(const struct context *c, const char *other, char *buf, size_t cap)
{
	char feature[32], when[64];

	context_feature(c, feature, sizeof(feature));
	if (c->feature == CONTEXT_NO_FEATURE) {
		snprintf(buf, cap,
			 "a call or jump that the kernel re-aims at boot, by the mitigation that it chooses");
		return;
	}
	if (c->feature == FEATURE_ALWAYS)
		snprintf(when, sizeof(when), "%s", c->inverted ? "never" : "at every boot");
	else
		snprintf(when, sizeof(when), "if the CPU %s %s", c->inverted ? "lacks" : "has", feature);
	if (c->role == CONTEXT_REPLACEMENT)
		snprintf(buf, cap, "copied over %s %s; not live before", other, when);
	else if (c->other)
		snprintf(buf, cap, "replaced by the code at %s %s", other, when);
	else
		snprintf(buf, cap, "replaced by no-ops %s", when);
}

void context_describe(const struct context *c, const struct image *img, char *buf, size_t cap)
{
	char other[128] = "";

	if (c->other)
		place(img, c->other, other, sizeof(other));
	switch (c->source) {
	case TARGET_ALTERNATIVE:
		describe_alternative(c, other, buf, cap);
		break;
	case TARGET_EXTABLE:
		snprintf(buf, cap,
			 c->role == CONTEXT_FIXUP ? "where a fault at %s goes on"
						  : "may fault; then goes on at %s",
			 other);
		break;
	case TARGET_BUG:
		snprintf(buf, cap, "BUG or WARN: reports and stops, or goes on behind it");
		break;
	case TARGET_JUMP_LABEL:
		snprintf(buf, cap,
			 c->role == CONTEXT_TARGET ? "reached by the jump label at %s"
						   : "a jump to %s that is switched on and off at run time",
			 other);
		break;
	case TARGET_STATIC_CALL:
		snprintf(buf, cap, "a call or jump that the kernel re-aims at run time");
		break;
	case TARGET_FTRACE_SITE:
		snprintf(buf, cap, "a tracing call, a no-op until it is switched on");
		break;
	case TARGET_PARAVIRT:
		snprintf(buf, cap,
			 "an operation that the kernel patches at boot for the hypervisor that it finds");
		break;
	case TARGET_SMP_LOCK:
		snprintf(buf, cap, "a LOCK prefix that becomes DS on one processor");
		break;
	case TARGET_ORC:
		orc_describe(&c->frame, buf, cap);
		break;
	default:
		snprintf(buf, cap, "?");
	}
}
