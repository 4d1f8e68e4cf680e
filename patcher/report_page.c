// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The page: the files of patcher/page, one behind the other, compiled in, with the data of a report where they say
 * @DATA@. It draws itself from that and asks nobody for anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/report_page.h"

/* clang-format off */
#define PART(name) "\t.incbin \"patcher/page/" name "\"\n"
__asm__(".pushsection .rodata\n"
	".globl report_page_start, report_page_end\n"
	"report_page_start:\n"
	PART("head.html") PART("page.css") PART("body.html") PART("common.js") PART("grid.js") PART("map.js")
	PART("audit.js") PART("diff.js") PART("modules.js") PART("start.js") PART("tail.html")
	"report_page_end: .byte 0\n"
	".popsection\n");
/* clang-format on */
extern const char report_page_start[], report_page_end[];

#define MARK "@DATA@"

struct page_texts page_texts_new(void)
{
	return (struct page_texts){json_object(), json_array(), 0};
}

json_t *page_text(struct page_texts *t, const char *s)
{
	json_t *n, *clean;

	if (!s)
		return json_integer(-1);
	clean = report_string(s);
	n = clean ? json_object_get(t->number, json_string_value(clean)) : NULL;
	if (n) {
		json_decref(clean);
		return json_incref(n);
	}
	n = json_integer((json_int_t)json_array_size(t->list));
	if (clean) {
		json_object_set(t->number, json_string_value(clean), n);
		t->bytes += json_string_length(clean) + strlen("\"\",");
		json_array_append_new(t->list, clean);
	}
	return n;
}

json_t *page_op(unsigned op)
{
	const struct policy *p = policy_get(op);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", p->id, "mnemonic",
			 p->mnemonic, "form", p->form, "class", policy_class_name(p->cls), "why", p->reason,
			 "manual", p->manual, "meaning", p->meaning, "hypercall",
			 hypercall_name(p->hypercall), "lowering", lowering_name(p->lowering));
}

size_t report_page_size(void)
{
	return (size_t)(report_page_end - report_page_start) - strlen(MARK);
}

/* In a script element `<` may start a tag; in JSON it stands in strings only, where it may be escaped. */
static void write_escaped(const char *s, FILE *f)
{
	for (size_t n; *s; s += n) {
		n = strcspn(s, "<");
		fwrite(s, 1, n, f);
		if (s[n] == '<') {
			fputs("\\u003c", f);
			n++;
		}
	}
}

int report_page_write(json_t *data, const char *path, struct diag *d)
{
	const char *mark = strstr(report_page_start, MARK);
	char *json = data ? json_dumps(data, JSON_COMPACT) : NULL;
	struct report_text t = {0};

	json_decref(data);
	if (json && report_text_open(&t)) {
		fwrite(report_page_start, 1, (size_t)(mark - report_page_start), t.f);
		write_escaped(json, t.f);
		fputs(mark + strlen(MARK), t.f);
	}
	free(json);
	return report_text_write(&t, path, d);
}
