// SPDX-License-Identifier: GPL-3.0-or-later
/* The page of every kind of report, and what its data have in common. */
#ifndef PATCHER_REPORT_PAGE_H
#define PATCHER_REPORT_PAGE_H

#include "patcher/report_internal.h"

/* Texts, each once, in the order of their first use: all else in the data names them by number. */
struct page_texts {
	json_t *number; /* object: text to number */
	json_t *list;	/* array: for the page's data */
	size_t bytes;	/* that the list takes there, about */
};
struct page_texts page_texts_new(void);
/* The number of s, a new reference; -1 for NULL. */
json_t *page_text(struct page_texts *t, const char *s);

/* A row of the policy table. */
json_t *page_op(unsigned op);

/* The page with `data` inside, released, into path. */
int report_page_write(json_t *data, const char *path, struct diag *d);
/* Bytes of the page without data. */
size_t report_page_size(void);

#endif
