/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Shared by verify_stub.c and verify_forms.c and nobody else: a walk along one stub, which demands one stub
 * instruction after the other together with what the manifest must say about it.
 */
#ifndef PATCHER_VERIFY_WALK_H
#define PATCHER_VERIFY_WALK_H

#include "patcher/verify_check.h"

#define EXPECT_MAX 16
#define SLOW_MAX 128

/* Where a slow path begins is known only when the walk gets there; jumps to it wait here. */
struct slow {
	uint32_t guest; /* the instruction that owns it */
	uint32_t site;
	uint32_t plain[2];	       /* addresses that jump to `slow`, 0 unused */
	uint32_t restore;	       /* address that jumps to `slow1`, 0 unused */
	uint32_t plain_at, restore_at; /* where those jumps go */
};

struct walk {
	struct verify_ctx *c;
	const struct manifest_window *w;
	uint32_t index; /* of the window */
	uint32_t pos;	/* next stub address */
	uint32_t end;
	const struct manifest_point *point; /* of pos */
	const struct manifest_point *points_end;
	uint32_t hole;
	uint32_t guest; /* the instruction being matched */
	uint8_t shadow; /* POINT_SHADOW if the one before was STI */
	struct slow slow[SLOW_MAX];
	unsigned n_slow;
	bool bad;
};

struct bytes {
	uint8_t b[EXPECT_MAX];
	unsigned n;
};

#define BYTES(...) ((struct bytes){.b = {__VA_ARGS__}, .n = sizeof((uint8_t[]){__VA_ARGS__})})

void walk_put(struct bytes *x, unsigned n, const uint8_t *b);
void walk_put32(struct bytes *x, uint32_t v);

/* One failure a stub: what follows a mismatch would only be noise. */
void walk_fail(struct walk *k, const char *what);
/* The stub's byte `ahead` from here, -1 behind its end. */
int walk_peek(const struct walk *k, unsigned ahead);
/* The stub's bytes from here; at least `n` of them, else the walk fails and the answer is NULL. */
const uint8_t *walk_bytes(struct walk *k, unsigned n);

/* One stub instruction: exactly these bytes, one instruction for LLVM, and its point. */
void walk_match(struct walk *k, const struct bytes *x, uint32_t guest, unsigned state, unsigned flags);
/* The same, belonging to the guest instruction that is being matched; as its first, at its boundary. */
void walk_here(struct walk *k, struct bytes x, unsigned state, unsigned flags);
void walk_first(struct walk *k, struct bytes x);
void walk_copy(struct walk *k, const uint8_t *orig, const struct verify_insn *in);

/* verify_forms.c: a sensitive instruction that has not been copied, and the out-of-line part of one. */
void walk_sensitive(struct walk *k, const uint8_t *orig, const struct verify_insn *in);
void walk_slow(struct walk *k, const struct slow *s);

#endif
