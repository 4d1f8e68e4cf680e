// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Prints the policy table or the hypercall numbers as Markdown, for docs/policy.md and docs/abi.md: the documents
 * are made from the rows that the patcher and the monitor use, so they cannot disagree with them.
 */
#include <stdio.h>
#include <string.h>

#include "hypercalls/policy.h"

static const char *const call_summary[] = {
#define HYPERCALL(id, name, summary) summary,
#include "hypercalls/hypercall.def"
#undef HYPERCALL
};

/* A table cell: `|` would end it. */
static void cell(const char *text)
{
	fputs("| ", stdout);
	for (; *text; text++)
		printf(*text == '|' ? "\\|" : "%c", *text);
	putchar(' ');
}

static void policy_table(unsigned cls)
{
	printf("\n## %s\n\n", policy_class_name(cls));
	printf("| instruction | code | at CPL 3 | under virtualization | hypercall | stub | manual |\n");
	printf("| --- | --- | --- | --- | --- | --- | --- |\n");
	for (unsigned op = OP_NONE + 1; op < OP_COUNT; op++) {
		const struct policy *p = policy_get(op);
		char text[128];

		if (p->cls != cls)
			continue;
		snprintf(text, sizeof(text), "%s %s", p->mnemonic, p->form);
		cell(text);
		snprintf(text, sizeof(text), "%s%s%s", p->widths & WIDTH_16 ? "16 " : "",
			 p->widths & WIDTH_32 ? "32 " : "", p->widths & WIDTH_64 ? "64" : "");
		cell(text);
		cell(p->reason);
		cell(p->meaning);
		cell(hypercall_name(p->hypercall));
		cell(lowering_name(p->lowering));
		cell(p->manual);
		printf("|\n");
	}
}

static void hypercall_table(void)
{
	printf("| number | name | service |\n| --- | --- | --- |\n");
	for (unsigned i = 0; i < HC_COUNT; i++)
		printf("| %u | %s | %s |\n", i, hypercall_name(i), call_summary[i]);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "policy")) {
		for (unsigned cls = CLASS_PRIVILEGED; cls <= CLASS_BY_OPERAND; cls++)
			policy_table(cls);
	} else if (argc == 2 && !strcmp(argv[1], "hypercalls")) {
		hypercall_table();
	} else {
		fprintf(stderr, "usage: tables policy | hypercalls\n");
		return 2;
	}
	return 0;
}
