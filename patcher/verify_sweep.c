// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.8: Every instruction once more
 *
 * The linear sweep by LLVM. A kernel's .text is instructions from end to end (compilers put jump tables and
 * constants elsewhere), so a sweep from the section's start sees every instruction; it is the targets that prove
 * it right: each of them must fall on a boundary. Where one does not, both readings of those bytes are marked as
 * in conflict, and no page that holds such a byte may be verified.
 *
 * LLVM needs 0.4 us an instruction, 1.1 s for a 9.5 MB kernel; so the sections are cut into pieces at symbols
 * and other known targets, where a correct sweep has a boundary anyway, and two threads share the pieces.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/verify_source.h"

#define PIECE_BYTES (512 << 10)

struct piece {
	struct verify_text *t;
	uint32_t start, end; /* offsets in t */
	struct verify_sensitive *found;
	size_t n_found, cap;
	struct verify_branch *branches;
	size_t n_branches, cap_branches;
	size_t n_instructions;
};

struct sweep {
	struct verify_source *src;
	struct piece *pieces;
	size_t n_pieces;
	atomic_size_t next;
	atomic_int err;
};

struct worker {
	struct sweep *sw;
	struct verify_decoder *dec;
};

/*
 * A relocated word may be the result of arithmetic: `early_idt_handler_array - 32 * 9` as the base of an indexed lea
 * names the middle of some other function's instruction. Where such a word disagrees with the sweep, it is not
 * believed; a window still keeps clear of it.
 */
static bool is_strong(uint8_t why)
{
	return why && why != VT_RELOC && why != VT_WORD;
}

/* Threads mark targets in each other's pieces. It does not matter who is first, and nobody reads the mark before the
 * join but to see whether a table's target (older than the threads) stands there. */
static void branch_target(struct verify_source *src, uint32_t va, unsigned why)
{
	struct verify_text *t = verify_text_at(src, va);
	uint8_t *p;

	if (!t)
		return;
	p = &t->target[va - t->va];
	if (why != VT_BRANCH)
		__atomic_fetch_or(&t->mark[va - t->va], MARK_NAMED, __ATOMIC_RELAXED);
	if (!is_strong(__atomic_load_n(p, __ATOMIC_RELAXED)))
		__atomic_store_n(p, why, __ATOMIC_RELAXED);
}

static int sensitive_add(struct piece *p, const struct verify_insn *in)
{
	if (p->n_found == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 256;
		void *new = realloc(p->found, cap * sizeof(*p->found));

		if (!new)
			return -ENOMEM;
		p->found = new;
		p->cap = cap;
	}
	p->found[p->n_found++] =
	    (struct verify_sensitive){.va = in->va, .len = in->len, .cls = in->cls, .what = in->what};
	return 0;
}

static int branch_add(struct verify_branch **list, size_t *n, size_t *cap, uint32_t from, uint32_t to)
{
	if (*n == *cap) {
		size_t want = *cap ? 2 * *cap : 4096;
		void *new = realloc(*list, want * sizeof(**list));

		if (!new)
			return -ENOMEM;
		*list = new;
		*cap = want;
	}
	(*list)[(*n)++] = (struct verify_branch){ .from = from, .to = to };
	return 0;
}

/* Offset of a table's target strictly inside the instruction, or 0. */
static uint32_t target_inside(const struct verify_text *t, uint32_t off, uint32_t len)
{
	for (uint32_t i = off + 1; i < off + len && i < t->size; i++) {
		uint8_t why = __atomic_load_n(&t->target[i], __ATOMIC_RELAXED);

		if ((is_strong(why) && why != VT_BRANCH) || t->mark[i] & MARK_FIXUP)
			return i;
	}
	return 0;
}

/* Immediates that look like code addresses, for images without relocations. */
static void immediate_targets(struct verify_source *src, const struct verify_insn *in)
{
	for (const char *p = strchr(in->args, '$'); p; p = strchr(p + 1, '$')) {
		uint32_t va = strtoll(p + 1, NULL, 0);

		branch_target(src, va, VT_WORD);
	}
}

static int take_instruction(struct verify_source *src, struct piece *p, const struct verify_insn *in)
{
	p->n_instructions++;
	p->t->start[in->va - p->t->va] = 1;
	if (in->flow == VF_COND || in->flow == VF_JMP || in->flow == VF_CALL) {
		branch_target(src, in->target, VT_BRANCH);
		if (branch_add(&p->branches, &p->n_branches, &p->cap_branches, in->va, in->target))
			return -ENOMEM;
		if (in->flow == VF_CALL && src->fentry && in->target == src->fentry)
			verify_rewritten_add(src, in->va, in->len);
	} else if (!src->have_relocs) {
		immediate_targets(src, in);
	}
	if (in->flow == VF_ODD)
		p->t->mark[in->va - p->t->va] |= MARK_CONFLICT;
	return in->cls ? sensitive_add(p, in) : 0;
}

static int sweep_piece(struct verify_source *src, struct piece *p, struct verify_decoder *dec)
{
	struct verify_text *t = p->t;
	uint32_t off = p->start;

	while (off < p->end) {
		struct verify_insn in;
		uint32_t stop;
		int len = verify_decode(dec, t->bytes + off, t->size - off, t->va + off, &in);

		if (!len) {
			t->mark[off++] |= MARK_CONFLICT;
			continue;
		}
		stop = target_inside(t, off, len);
		if (stop) {
			/* The sweep ran through data or out of step: begin again where control can arrive. */
			while (off < stop)
				t->mark[off++] |= MARK_CONFLICT;
			continue;
		}
		if (take_instruction(src, p, &in))
			return -ENOMEM;
		off += len;
	}
	return 0;
}

static void *sweep_thread(void *arg)
{
	struct worker *w = arg;
	struct sweep *sw = w->sw;
	size_t i;

	while ((i = atomic_fetch_add(&sw->next, 1)) < sw->n_pieces && !atomic_load(&sw->err))
		if (sweep_piece(sw->src, &sw->pieces[i], w->dec))
			atomic_store(&sw->err, -ENOMEM);
	return NULL;
}

/* Cut t at known targets, each piece at least PIECE_BYTES long but the last. */
static size_t cut(struct verify_text *t, struct piece *pieces)
{
	uint32_t start = 0;
	size_t n = 0;

	for (uint32_t i = PIECE_BYTES; i < t->size; i++) {
		if (!is_strong(t->target[i]) || i - start < PIECE_BYTES)
			continue;
		pieces[n++] = (struct piece){.t = t, .start = start, .end = i};
		start = i;
	}
	pieces[n++] = (struct piece){.t = t, .start = start, .end = t->size};
	return n;
}

static int pieces_make(struct sweep *sw)
{
	size_t cap = 0;

	for (size_t i = 0; i < sw->src->n_text; i++)
		cap += sw->src->text[i].size / PIECE_BYTES + 1;
	sw->pieces = calloc(cap, sizeof(*sw->pieces));
	if (!sw->pieces)
		return -ENOMEM;
	for (size_t i = 0; i < sw->src->n_text; i++)
		if (!sw->src->text[i].replacement)
			sw->n_pieces += cut(&sw->src->text[i], sw->pieces + sw->n_pieces);
	return 0;
}

static int run_threads(struct sweep *sw, int threads)
{
	struct worker w[2] = {{sw, verify_decoder_new()}, {sw, threads > 1 ? verify_decoder_new() : NULL}};
	pthread_t second;
	bool started = false;
	int err = -ENOMEM;

	if (w[0].dec) {
		/* Without a second thread the first one does all. */
		started = w[1].dec && !pthread_create(&second, NULL, sweep_thread, &w[1]);
		sweep_thread(&w[0]);
		if (started)
			pthread_join(second, NULL);
		err = atomic_load(&sw->err);
	}
	verify_decoder_free(w[0].dec);
	verify_decoder_free(w[1].dec);
	return err;
}

static int merge(struct sweep *sw)
{
	struct verify_source *src = sw->src;
	size_t n = 0, n_branches = 0;

	for (size_t i = 0; i < sw->n_pieces; i++) {
		n += sw->pieces[i].n_found;
		n_branches += sw->pieces[i].n_branches;
	}
	src->sensitive = calloc(n + 1, sizeof(*src->sensitive));
	src->branches = calloc(n_branches + 1, sizeof(*src->branches));
	if (!src->sensitive || !src->branches)
		return -ENOMEM;
	for (size_t i = 0; i < sw->n_pieces; i++) {
		struct piece *p = &sw->pieces[i];

		if (p->n_found)
			memcpy(src->sensitive + src->n_sensitive, p->found, p->n_found * sizeof(*p->found));
		src->n_sensitive += p->n_found;
		if (p->n_branches)
			memcpy(src->branches + src->n_branches, p->branches, p->n_branches * sizeof(*p->branches));
		src->n_branches += p->n_branches;
		src->n_instructions += p->n_instructions;
	}
	return 0;
}

/*
 * Control can arrive at off, in the middle of an instruction of the sweep: mark that instruction and all that is
 * executed from off until the two readings meet. Branches of the second reading are targets too.
 */
static void conflict_at(struct verify_source *src, struct verify_text *t, uint32_t off,
			struct verify_decoder *dec)
{
	uint32_t i = off;

	t->mark[i] |= MARK_CONFLICT;
	while (i && !t->start[i])
		t->mark[--i] |= MARK_CONFLICT;
	while (off < t->size && !t->start[off]) {
		struct verify_insn in;
		int len = verify_decode(dec, t->bytes + off, t->size - off, t->va + off, &in);

		for (i = off; i < t->size && i < off + (len ? len : 1); i++)
			t->mark[i] |= MARK_CONFLICT;
		if (in.flow == VF_COND || in.flow == VF_JMP || in.flow == VF_CALL)
			verify_target_add(src, in.target, VT_BRANCH); /* named: no relay serves it */
		if (!len || !verify_falls_through(&in))
			break;
		off += len;
	}
}

/* Every target and every instruction that a table names must be a boundary of the sweep. */
static size_t conflicts_find(struct verify_source *src, struct verify_decoder *dec)
{
	size_t n_targets = 0, n_odd = 0;

	for (size_t k = 0; k < src->n_text; k++) {
		struct verify_text *t = &src->text[k];

		/* Nothing is executed there, unless a branch goes there after all. */
		for (uint32_t i = 0; t->replacement && i < t->size; i++)
			if (t->target[i] == VT_BRANCH)
				t->mark[i] |= MARK_CONFLICT;
		for (uint32_t i = 0; !t->replacement && i < t->size; i++) {
			n_targets += t->target[i] != 0;
			if (t->start[i])
				continue;
			if (is_strong(t->target[i]) || t->mark[i] & (MARK_POINT | MARK_FIXUP))
				conflict_at(src, t, i, dec);
			else
				n_odd += t->target[i] != 0;
		}
	}
	src->n_odd = n_odd;
	return n_targets;
}

/*
 * Replacements are executed where the kernel copies them, but their relative jumps mean what they mean where they
 * stand (the kernel adjusts them): static_cpu_has() reaches its "no" label in no other way. Linear, from each
 * replacement's start that .altinstructions names.
 */
static void replacement_targets(struct verify_source *src, const struct verify_text *t, struct verify_decoder *dec)
{
	for (uint32_t off = 0; off < t->size;) {
		struct verify_insn in;
		int len = verify_decode(dec, t->bytes + off, t->size - off, t->va + off, &in);
		uint32_t stop = len ? target_inside(t, off, len) : off + 1;

		if (!stop && (in.flow == VF_COND || in.flow == VF_JMP || in.flow == VF_CALL) &&
		    verify_text_at(src, in.target) != t)
			verify_target_add(src, in.target, VT_ALTERNATIVE);
		off = stop ? stop : off + len;
	}
}

static int conflicts_mark(struct verify_source *src)
{
	struct verify_decoder *dec = verify_decoder_new();
	size_t n;

	if (!dec)
		return -ENOMEM;
	for (size_t i = 0; i < src->n_text; i++)
		if (src->text[i].replacement)
			replacement_targets(src, &src->text[i], dec);
	do {
		n = src->n_targets;
		src->n_targets = conflicts_find(src, dec);
	} while (n != src->n_targets);
	verify_decoder_free(dec);
	return 0;
}

int verify_sweep(struct verify_source *src, int threads, struct diag *d)
{
	struct sweep sw = {.src = src};
	int err = pieces_make(&sw);

	if (!err)
		err = run_threads(&sw, threads);
	if (!err)
		err = merge(&sw);
	if (!err)
		err = conflicts_mark(src);
	for (size_t i = 0; i < sw.n_pieces; i++) {
		free(sw.pieces[i].found);
		free(sw.pieces[i].branches);
	}
	free(sw.pieces);
	return err ? diag_set(d, err, "sweep: out of memory, or no libLLVM-14.so.1 that has an X86 disassembler") : 0;
}
