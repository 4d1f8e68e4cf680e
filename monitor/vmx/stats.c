// SPDX-License-Identifier: GPL-3.0-or-later
/* Everything read here was written by workers: numbers to print, never indices to trust. */
#include "monitor/vmx/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmx/file.h"

#define HOTTEST 20

static const char *const reason_names[] = {
#define EXIT_REASON(id, name) name,
#include "monitor/vmm/exit_reason.def"
#undef EXIT_REASON
};

static const struct policy *site_policy(const struct site_count *s)
{
	return policy_get(s->op < OP_COUNT ? s->op : OP_NONE);
}

static const char *kind_name(unsigned kind)
{
	switch (kind) {
	case EXIT_STUB:
		return "stub";
	case EXIT_BREAKPOINT:
		return "breakpoint";
	case EXIT_STEP:
		return "step";
	case EXIT_BLOCK_CALL:
		return "translated";
	case EXIT_PAGE_CODE:
		return "unverified";
	default:
		return "trap";
	}
}

static int by_count(const void *a, const void *b)
{
	const struct site_count *x = a, *y = b;

	return x->count < y->count ? 1 : x->count > y->count ? -1 : x->va < y->va ? -1 : x->va > y->va;
}

/* A private, sorted copy; malloc'd. */
static struct site_count *sorted_sites(const struct vm *vm, size_t *n)
{
	struct site_count *s = malloc(sizeof(vm->stats.sites));

	*n = 0;
	for (size_t i = 0; s && i < SITE_COUNTS; i++)
		if (vm->stats.sites[i].count)
			s[(*n)++] = vm->stats.sites[i];
	if (s)
		qsort(s, *n, sizeof(*s), by_count);
	return s;
}

static double ms(const struct vm *vm, uint64_t cycles)
{
	return vm->cfg.tsc_hz ? (double)cycles * 1e3 / (double)vm->cfg.tsc_hz : 0;
}

static void print_exits(const struct vm *vm, FILE *out)
{
	uint64_t count = 0, cycles = 0;

	fprintf(out, "%-58s %12s %10s %8s\n", "exits by reason", "count", "ms", "us each");
	for (unsigned i = 0; i < EXIT_REASON_COUNT; i++) {
		uint64_t n = vm->stats.exits[i];

		count += n;
		cycles += vm->stats.cycles[i];
		if (n)
			fprintf(out, "  %-56s %12" PRIu64 " %10.1f %8.2f\n", reason_names[i], n,
				ms(vm, vm->stats.cycles[i]), ms(vm, vm->stats.cycles[i]) * 1e3 / (double)n);
	}
	fprintf(out, "  %-56s %12" PRIu64 " %10.1f\n", "all", count, ms(vm, cycles));
}

/* Who had the time: guest code by the way it ran, the monitor by the way it was called. */
static void print_shares(const struct vm *vm, FILE *out)
{
	static const char *const names[SHARE_COUNT] = {
	    [SHARE_DIRECT] = "guest code, executed directly",
	    [SHARE_TRANSLATED] = "guest code, translated",
	    [SHARE_STEP] = "guest instructions, one by one",
	    [SHARE_TRAP] = "monitor, called by a host trap",
	    [SHARE_JUMP] = "monitor, called by a jump (stubs, blocks, gates)",
	};
	uint64_t all = 0;

	for (unsigned i = 0; i < SHARE_COUNT; i++)
		all += vm->stats.shares[i].cycles;
	fprintf(out, "%-58s %12s %10s %8s\n", "shares of the time, idle time left out", "times", "ms", "%");
	for (unsigned i = 0; i < SHARE_COUNT; i++)
		fprintf(out, "  %-56s %12" PRIu64 " %10.1f %8.1f\n", names[i], vm->stats.shares[i].n,
			ms(vm, vm->stats.shares[i].cycles),
			all ? 100.0 * (double)vm->stats.shares[i].cycles / (double)all : 0);
}

static void print_hypercalls(const struct vm *vm, FILE *out)
{
	fprintf(out, "hypercalls\n");
	for (unsigned i = 0; i < HC_COUNT; i++)
		if (vm->stats.hypercalls[i])
			fprintf(out, "  %-56s %12" PRIu64 "\n", hypercall_name(i), vm->stats.hypercalls[i]);
}

static void print_interrupts(const struct vm *vm, FILE *out)
{
	fprintf(out, "interrupts and exceptions delivered\n");
	for (unsigned i = 0; i < ARRAY_LEN(vm->stats.interrupts); i++)
		if (vm->stats.interrupts[i])
			fprintf(out, "  vector 0x%-47x %14" PRIu64 "\n", i, vm->stats.interrupts[i]);
}

static void print_sites(const struct vm *vm, FILE *out)
{
	size_t n, i;
	struct site_count *s = sorted_sites(vm, &n);

	fprintf(out, "hottest sites (%zu in all)\n", n);
	for (i = 0; i < n && i < HOTTEST; i++) {
		const struct policy *p = site_policy(&s[i]);

		fprintf(out, "  0x%08x  %-10s %-10s %-21s %12" PRIu64 "\n", s[i].va, kind_name(s[i].kind),
			p->mnemonic, p->form, s[i].count);
	}
	free(s);
}

static void print_pages(const struct vm *vm, FILE *out)
{
	const struct vm_stats *s = &vm->stats;
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {
	    {"code pages demoted by a guest write", s->pages_demoted},
	    {"code pages verified again", s->pages_reverified},
	    {"code pages refused", s->pages_refused},
	    {"frames of module code met before they were promoted", s->module_met},
	    {"searches for a plan that found none", s->module_searches},
	    {"module pages promoted", s->module_promoted},
	    {"  of them without a plan", s->module_unplanned},
	    {"  instructions on those", s->module_insns},
	    {"  put off: no pointer to their code found", s->module_scans[SCAN_NO_ANCHOR]},
	    {"  put off: bytes that may be no code", s->module_scans[SCAN_UNCLEAR]},
	    {"  put off: a way into the middle of an instruction", s->module_scans[SCAN_CONTRADICTED]},
	    {"  put off: an instruction that may not trap has not run", s->module_scans[SCAN_UNPROVEN]},
	    {"module pages demoted by a guest write", s->module_demoted},
	    {"module pages refused", s->module_refused},
	    {"windows laid over module pages", s->module_windows},
	    {"times that stubs of modules began anew", s->module_resets},
	    {"module pages that run directly at the end", s->module_pages},
	    {"blocks translated", s->blocks},
	    {"instructions in them", s->block_insns},
	    {"of the kernel's code that no manifest proves", s->blocks_unverified},
	    {"blocks dropped by guest writes", s->blocks_dropped},
	    {"translation cache flushes", s->block_flushes},
	    {"branches chained", s->branches_chained},
	    {"calls of the kernel that stayed in blocks", s->calls_inside},
	    {"spells of translating everything", s->translation_preferred},
	    {"spells of translating a program for its int $0x80", s->user_preferred},
	    {"baton passes between workers", s->baton_passes},
	    {"host mmap", s->host_mmap},
	    {"host mprotect", s->host_mprotect},
	    {"host munmap", s->host_munmap},
	    {"mappings dropped for lack of room", s->shadow_evictions},
	    {"host modify_ldt", s->host_ldt},
	    {"host futex", s->host_futex},
	};

	fprintf(out, "memory and workers\n");
	if (s->code_candidates)
		fprintf(out, "  %-56s %12" PRIu64 " of %" PRIu64 " (%.1f%%), %" PRIu64 " refused\n",
			"code pages verified at the end", s->code_verified, s->code_candidates,
			100.0 * (double)s->code_verified / (double)s->code_candidates, s->code_refused);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		fprintf(out, "  %-56s %12" PRIu64 "\n", rows[i].name, rows[i].n);
}

static double guest_ms(const struct vm *vm, uint64_t tsc)
{
	return tsc > vm->cfg.tsc_start ? ms(vm, tsc - vm->cfg.tsc_start) : 0;
}

static void print_silent(const struct vm *vm, const struct host_silent *silent, FILE *out)
{
	fprintf(out, "instructions of user code that did not trap and show the host's state:");
	for (unsigned i = 0; i < silent->n; i++)
		fprintf(out, "%s%s", i % 10 ? " " : "\n  ", policy_get(silent->op[i])->mnemonic);
	fprintf(out, "%s\n",
		silent->n			? ""
		: vm->cfg.engine == ENGINE_LONG ? " none, all code is translated"
						: " none");
}

void stats_print(const struct vm *vm, const struct host_silent *silent, uint64_t wall_ns, FILE *out)
{
	fprintf(out, "--- paravane: statistics of the run\n");
	fprintf(out, "%-58s %12.1f ms\n", "wall-clock time, set-up included", (double)wall_ns / 1e6);
	if (vm->stats.guest_tsc_init)
		fprintf(out, "%-58s %12.1f ms\n", "guest start to first user mode",
			guest_ms(vm, vm->stats.guest_tsc_init));
	print_exits(vm, out);
	print_shares(vm, out);
	print_hypercalls(vm, out);
	print_interrupts(vm, out);
	print_pages(vm, out);
	print_silent(vm, silent, out);
	print_sites(vm, out);
}

/* --- audit ----------------------------------------------------------------------------------------------- */

static bool is_user_code(const struct vm *vm, uint32_t va)
{
	return va < vm->cfg.kernel_split && vm->cfg.kernel_split != vm->cfg.hole_base;
}

/* Has the image a stub for it, or an INT3, wherever it ran this time? */
static bool is_patched(const struct vm *vm, const struct site_count *s)
{
	const struct manifest_site *m = manifest_site_at(&vm->manifest, s->va);

	return m && m->tactic != TACTIC_TRAP && m->tactic != TACTIC_NONE;
}

/* Why this site was not served by a stub, in a few words. */
static const char *site_reason(const struct vm *vm, const struct site_count *s)
{
	const struct manifest_site *m = manifest_site_at(&vm->manifest, s->va);

	if (s->kind == EXIT_PAGE_CODE || s->kind == EXIT_STEP)
		return "the page was not verified, or was stepped through";
	if (is_user_code(vm, s->va))
		return "user code, which is not patched";
	if (s->kind == EXIT_BLOCK_CALL && vm->cfg.mode == MODE_TRANSLATE)
		return "--mode=translate";
	if (s->kind == EXIT_BLOCK_CALL)
		return "the page was not verified: translated";
	if (!m)
		return vm->cfg.patched ? "the patcher did not find it" : "the image is not patched";
	if (m->reason && m->reason < vm->manifest.h.n_strings)
		return vm->manifest.strings + m->reason;
	return vm->cfg.mode == MODE_TRAP ? "--mode=trap" : "the window was not in place";
}

static json_t *unplanned_json(const struct vm_stats *s)
{
	return json_pack("{s:I, s:I, s:{s:I, s:I, s:I, s:I}}", "promoted", (json_int_t)s->module_unplanned,
			 "instructions", (json_int_t)s->module_insns, "put_off", "no_anchor",
			 (json_int_t)s->module_scans[SCAN_NO_ANCHOR], "unclear",
			 (json_int_t)s->module_scans[SCAN_UNCLEAR], "contradicted",
			 (json_int_t)s->module_scans[SCAN_CONTRADICTED], "unproven",
			 (json_int_t)s->module_scans[SCAN_UNPROVEN]);
}

/* Pages of modules: patched ahead of time, or as they came. */
static json_t *modules_json(const struct vm_stats *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "met", (json_int_t)s->module_met, "promoted",
			 (json_int_t)s->module_promoted, "demoted", (json_int_t)s->module_demoted, "refused",
			 (json_int_t)s->module_refused, "windows", (json_int_t)s->module_windows, "direct",
			 (json_int_t)s->module_pages, "unplanned", unplanned_json(s));
}

/* Each reason to leave the guest that occurred, with what all of them took. */
static json_t *exits_json(const struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < EXIT_REASON_COUNT; i++)
		if (vm->stats.exits[i])
			json_array_append_new(list, json_pack("{s:s, s:I, s:f}", "reason", reason_names[i],
							      "count", (json_int_t)vm->stats.exits[i], "ms",
							      ms(vm, vm->stats.cycles[i])));
	return list;
}

static json_t *silent_json(const struct host_silent *silent)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < silent->n; i++)
		json_array_append_new(list, json_string(policy_get(silent->op[i])->id));
	return list;
}

static int by_address(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Where kernel blocks start that have a sensitive instruction which no manifest knows. */
static json_t *blocks_json(const struct vm_stats *s)
{
	uint32_t *va = malloc(sizeof(s->unknown_blocks));
	json_t *list = json_array();
	size_t n = 0;

	for (size_t i = 0; va && i < UNKNOWN_BLOCKS; i++)
		if (s->unknown_blocks[i])
			va[n++] = s->unknown_blocks[i];
	if (va)
		qsort(va, n, sizeof(*va), by_address);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(va[i]));
	free(va);
	return list;
}

static json_t *site_json(const struct vm *vm, const struct site_count *s)
{
	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:b}", "va", (json_int_t)s->va, "op", site_policy(s)->id, "count",
			 (json_int_t)s->count, "kind", kind_name(s->kind), "reason", site_reason(vm, s), "patched",
			 is_patched(vm, s));
}

static json_t *audit_json(const struct vm *vm, const struct host_silent *silent, const uint8_t sha256[32])
{
	char hex[65];
	size_t n, i;
	struct site_count *s = sorted_sites(vm, &n);
	json_t *sites = json_array();
	json_int_t unpatched = 0, times = 0;

	for (i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
	for (i = 0; s && i < n; i++) {
		if (s[i].kind == EXIT_STUB)
			continue; /* served as planned */
		json_array_append_new(sites, site_json(vm, &s[i]));
		if (s[i].kind == EXIT_STEP || is_user_code(vm, s[i].va) || is_patched(vm, &s[i]))
			continue;
		unpatched++;
		times += (json_int_t)s[i].count;
	}
	free(s);
	return json_pack("{s:i, s:s, s:f, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "version", 1, "image_sha256", hex,
			 "seconds", guest_ms(vm, clock_tsc()) / 1e3, "blocks_translated", (json_int_t)vm->stats.blocks,
			 "blocks_unverified", (json_int_t)vm->stats.blocks_unverified, "unpatched_sites", unpatched,
			 "unpatched_count", times, "blocks", blocks_json(&vm->stats),
			 "module_pages", modules_json(&vm->stats), "exits", exits_json(vm), "silent_in_user_code",
			 silent_json(silent), "sites", sites);
}

int stats_write_audit(const struct vm *vm, const struct host_silent *silent, const uint8_t sha256[32],
		      const char *path, struct diag *d)
{
	json_t *root = audit_json(vm, silent, sha256);
	char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	int err;

	json_decref(root);
	if (!text)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	err = host_file_replace(path, text, strlen(text), d);
	free(text);
	return err;
}
