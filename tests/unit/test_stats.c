// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmx/stats.h"

static struct vm *vm;
static const struct host_silent silent = {.op = {OP_SGDT, OP_CPUID}, .n = 2};
static char strings[] = "\0no room before 0xc1000010";
static struct manifest_site sites[] = {{.va = 0xc1000000, .op = OP_NONE + 1, .tactic = TACTIC_TRAP, .reason = 1},
				       {.va = 0xc1000008, .op = OP_NONE + 2}};

static void count(size_t slot, uint32_t va, uint16_t op, uint8_t kind, uint64_t n)
{
	vm->stats.sites[slot] = (struct site_count){va, op, kind, 0, n};
}

static int setup(void **state)
{
	(void)state;
	vm = calloc(1, sizeof(*vm));
	vm->cfg.tsc_hz = 1000000000;
	vm->cfg.tsc_start = clock_tsc() - 3000000000; /* three seconds ago */
	vm->cfg.patched = true;
	vm->manifest.h.n_sites = 2;
	vm->manifest.h.n_strings = sizeof(strings);
	vm->manifest.sites = sites;
	vm->manifest.strings = strings;
	count(7, 0xc1000000, sites[0].op, EXIT_TRAP, 5);
	count(99, 0xc1000008, sites[1].op, EXIT_STUB, 1000); /* as planned: not for the audit */
	count(3, 0xf8400000, 0xffff, EXIT_BREAKPOINT, 50);   /* a module, an op that no table has */
	vm->stats.blocks = 77;
	vm->stats.blocks_unverified = 33;
	vm->stats.unknown_blocks[5] = 0xc1000300;
	vm->stats.unknown_blocks[9] = 0xc1000200;
	vm->stats.shares[SHARE_DIRECT].n = 10;
	vm->stats.shares[SHARE_DIRECT].cycles = 6000000;
	vm->stats.shares[SHARE_TRAP].n = 4;
	vm->stats.shares[SHARE_TRAP].cycles = 2000000;
	vm->cfg.kernel_split = 0xc0000000;
	count(4, 0x08048000, sites[0].op, EXIT_TRAP, 9); /* user code: nobody patches that */
	count(5, 0xc1000400, OP_NONE, EXIT_STEP, 9);	 /* no site at all */
	vm->stats.module_promoted = 12;
	vm->stats.module_pages = 9;
	vm->stats.module_met = 14;
	vm->stats.module_unplanned = 5;
	vm->stats.module_insns = 4321;
	vm->stats.module_scans[SCAN_UNPROVEN] = 3;
	vm->stats.exits[EXIT_STUB] = 1000;
	vm->stats.cycles[EXIT_STUB] = 2000000;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(vm);
	return 0;
}

static void audit_file(void **state)
{
	char path[] = "/tmp/pv-audit.XXXXXX";
	uint8_t hash[32] = {0xab, [31] = 0x01};
	struct diag d = {""};
	json_t *root, *list, *first, *second;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(stats_write_audit(vm, &silent, hash, path, &d), 0);
	root = json_load_file(path, 0, NULL);
	unlink(path);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "version")), 1);
	assert_string_equal(json_string_value(json_object_get(root, "image_sha256")),
			    "ab00000000000000000000000000000000000000000000000000000000000001");
	assert_in_range(json_number_value(json_object_get(root, "seconds")), 3, 60);
	assert_int_equal(json_integer_value(json_object_get(root, "blocks_translated")), 77);
	assert_int_equal(json_integer_value(json_object_get(root, "blocks_unverified")), 33);
	assert_int_equal(json_integer_value(json_object_get(root, "unpatched_sites")), 2); /* a module's, and one that traps */
	assert_int_equal(json_integer_value(json_object_get(root, "unpatched_count")), 50 + 5);
	list = json_object_get(root, "blocks");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_integer_value(json_array_get(list, 0)), 0xc1000200);
	first = json_object_get(root, "module_pages");
	assert_int_equal(json_integer_value(json_object_get(first, "promoted")), 12);
	assert_int_equal(json_integer_value(json_object_get(first, "direct")), 9);
	assert_int_equal(json_integer_value(json_object_get(first, "met")), 14);
	first = json_object_get(first, "unplanned");
	assert_int_equal(json_integer_value(json_object_get(first, "promoted")), 5);
	assert_int_equal(json_integer_value(json_object_get(first, "instructions")), 4321);
	first = json_object_get(first, "put_off");
	assert_int_equal(json_integer_value(json_object_get(first, "unproven")), 3);
	assert_int_equal(json_integer_value(json_object_get(first, "unclear")), 0);
	list = json_object_get(root, "exits");
	assert_int_equal(json_array_size(list), 1); /* those that occurred */
	first = json_array_get(list, 0);
	assert_int_equal(json_integer_value(json_object_get(first, "count")), 1000);
	assert_int_equal(json_number_value(json_object_get(first, "ms")), 2);
	list = json_object_get(root, "silent_in_user_code");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "OP_SGDT");
	list = json_object_get(root, "sites");
	assert_int_equal(json_array_size(list), 4);
	first = json_array_get(list, 0); /* hottest first */
	second = json_array_get(list, 3);
	assert_false(json_boolean_value(json_object_get(second, "patched")));
	assert_int_equal(json_integer_value(json_object_get(first, "va")), 0xf8400000);
	assert_int_equal(json_integer_value(json_object_get(first, "count")), 50);
	assert_string_equal(json_string_value(json_object_get(first, "kind")), "breakpoint");
	assert_string_equal(json_string_value(json_object_get(first, "reason")),
			    "the patcher did not find it");
	assert_string_equal(json_string_value(json_object_get(second, "kind")), "trap");
	assert_string_equal(json_string_value(json_object_get(second, "op")), policy_get(sites[0].op)->id);
	assert_string_equal(json_string_value(json_object_get(second, "reason")), strings + 1);
	json_decref(root);
}

static void audit_nowhere(void **state)
{
	uint8_t hash[32] = {0};
	struct diag d = {""};

	(void)state;
	assert_int_not_equal(stats_write_audit(vm, &silent, hash, "/nonexistent/a.json", &d), 0);
	assert_non_null(strstr(d.text, "/nonexistent/a.json"));
}

static void printed(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	stats_print(vm, &silent, 5000000, f);
	fclose(f);
	assert_non_null(strstr(text, "landing pad"));
	assert_non_null(strstr(text, "guest code, executed directly                                      10        6.0     75.0\n"));
	assert_non_null(strstr(text, "monitor, called by a host trap                                      4        2.0     25.0\n"));
	assert_non_null(strstr(text, "show the host's state:\n  SGDT CPUID\n"));
	assert_non_null(strstr(text, "1000"));
	assert_non_null(strstr(text, "0xf8400000"));
	/* Hottest first. */
	assert_true(strstr(text, "0xc1000008") < strstr(text, "0xf8400000"));
	assert_true(strstr(text, "0xf8400000") < strstr(text, "0xc1000000"));
	free(text);
}

static void nothing_is_silent_when_all_is_translated(void **state)
{
	const struct host_silent none = {.n = 0};
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	vm->cfg.engine = ENGINE_LONG;
	stats_print(vm, &none, 5000000, f);
	vm->cfg.engine = ENGINE_DIRECT;
	fclose(f);
	assert_non_null(strstr(text, "show the host's state: none, all code is translated\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(audit_file),
	    cmocka_unit_test(audit_nowhere),
	    cmocka_unit_test(printed),
	    cmocka_unit_test(nothing_is_silent_when_all_is_translated),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
