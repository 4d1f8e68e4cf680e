// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Many kernel modules at once: `paravane audit --modules`, and `paravane verify` of two trees. A directory tree, a
 * module or an initramfs becomes a list of sources; worker processes take one after the other and leave a result each.
 * A module that cannot be read, or that takes its worker down with it, is named and costs nobody else.
 */
#ifndef PATCHER_MODULES_H
#define PATCHER_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hypercalls/diag.h"
#include "hypercalls/policy.h"
#include "patcher/sources.h"

#define MODULE_CLASSES (CLASS_BY_OPERAND + 1)

struct module_source {
	char *name;	     /* within the tree or the archive, for people */
	char *path;	     /* file to read, or NULL */
	const uint8_t *data; /* without a path: contents, inside one of the list's buffers */
	size_t size;
	char *damage; /* no module at all, but something that could not be read; or NULL */
	struct source_options debug;
	const struct module_source *patched; /* of verify: what became of it, in another list */
	bool csv, sarif; /* wanted of its result, besides text and JSON */
};

struct module_list {
	struct module_source *sources; /* sorted by name */
	size_t n;
	uint8_t **buffers; /* what data points into */
	size_t n_buffers;
};

/* modules_find.c: 0 or -errno. Directories are walked, symbolic links in them not followed. */
int modules_find(struct module_list *list, const char *path, struct diag *d);
void modules_free(struct module_list *list);
/* Is it a module, by its name? */
bool modules_is_module_name(const char *name);
/* Is it one, by its contents? path is its name. */
bool modules_is_initramfs(const char *path, const uint8_t *bytes, size_t size);
/* The file as it is, perhaps compressed; *bytes is malloc'd. 0 or -errno. */
int modules_read(const struct module_source *s, uint8_t **bytes, size_t *size, struct diag *d);

enum module_status {
	MODULE_OK,
	MODULE_DAMAGED,	   /* a part could not be read, the rest is in the result */
	MODULE_UNREADABLE, /* nothing could be read */
};

/* Texts of a result, each with its NUL: "" where there is nothing to say, or it was not asked for. */
enum module_part {
	PART_MESSAGE, /* why it is damaged */
	PART_TEXT,    /* a line for each site */
	PART_JSON,    /* an object of docs/audit-modules.schema.json */
	PART_CSV,     /* a row for each site, report_csv_module() */
	PART_SARIF,   /* results, a comma before each, report_sarif_module() */
	MODULE_PARTS
};

/* What a worker hands back of one module. */
struct module_result {
	uint64_t instructions, undecoded_bytes;
	uint32_t index;	  /* in the list */
	uint8_t status;	  /* enum module_status */
	uint8_t patched;  /* it carries a plan; all that follows is of its source */
	uint32_t windows; /* of the plan */
	uint32_t sites;	  /* all but replacements */
	uint32_t replacements;
	uint32_t by_class[MODULE_CLASSES], by_op[OP_COUNT]; /* of sites */
	uint32_t part_size[MODULE_PARTS];		    /* of the parts that follow, in that order */
};
static inline const char *module_part(const struct module_result *r, enum module_part part)
{
	const char *p = (const char *)(r + 1);

	for (unsigned i = 0; i < part; i++)
		p += r->part_size[i];
	return p;
}
/* The result and its parts. */
static inline size_t module_result_size(const struct module_result *r)
{
	return (size_t)(module_part(r, MODULE_PARTS) - (const char *)r);
}

/* What a worker does with one module: a result, malloc'd, or NULL without memory. */
typedef struct module_result *(*module_work)(const struct module_source *source, uint32_t index);
/* module_audit.c: read nothing but the source and its debug file. */
struct module_result *module_audit(const struct module_source *source, uint32_t index);
/* A result of `head` with its sizes set and its parts (NULL: "") behind it. malloc'd, or NULL without memory. */
struct module_result *module_result_pack(struct module_result *head, const char *const parts[MODULE_PARTS]);

/* modules_run.c: one result for each source, in the order of the list. */
struct module_results {
	const struct module_result **results;
	size_t n;
	struct module_spool *spools;
	size_t n_spools;
};
/* `progress`: a terminal for the bar, or NULL. 0 or -errno. */
int modules_run(struct module_results *r, const struct module_list *list, module_work one, FILE *progress,
		struct diag *d);
void module_results_free(struct module_results *r);

/* report_modules.c. all: the sites of each module too. */
void report_modules_text(const char *path, const struct module_list *list, const struct module_results *r,
			 bool all, FILE *f);
int report_modules_json(const char *path, const struct module_results *r, const char *file, struct diag *d);
/* What each can be asked of a single image, of all modules: read-a-report.md. CSV and SARIF must have been wanted. */
int report_modules_csv(const struct module_results *r, const char *file, struct diag *d);
int report_modules_sarif(const char *path, const struct module_list *list, const struct module_results *r,
			 const char *file, struct diag *d);
/* A page of about `most` bytes: with more to tell it leaves out source lines and tables, then sites, and says so. */
#define MODULES_PAGE_MOST (5u << 20)
int report_modules_html(const char *path, const struct module_results *r, size_t most, const char *file,
			struct diag *d);
/* How many are not MODULE_OK. */
size_t report_modules_bad(const struct module_results *r);

#endif
