/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The patched half of the proof: one struct verify_ctx for one judgement of one file, passed from check to check.
 */
#ifndef PATCHER_VERIFY_CHECK_H
#define PATCHER_VERIFY_CHECK_H

#include "hypercalls/manifest.h"
#include "patcher/verify_source.h"

struct verify_ctx {
	const struct verify_source *src;
	const uint8_t *out; /* the patched file */
	size_t out_size;
	struct manifest m;
	const uint8_t *stubs; /* m.h.stubs_size bytes at stubs_va, inside out */
	uint32_t stubs_va;
	uint8_t *stub_use;	/* a byte for each of stubs: enum stub_use */
	uint8_t *original_use;	/* a byte for each of the manifest's originals: 1 once something claims it */
	uint8_t *allowed;	/* a byte for each of the source ELF: 1 where the patched file may differ */
	uint8_t *site_pad_used; /* a byte a site: a stub goes to its landing pad */
	size_t points_seen;	/* points matched by stubs so far */
	struct verify_decoder *dec;
	struct verify_result *r;
	struct verify_copy {
		uint32_t guest, stub;
	} * copies; /* where instructions of windows stand in their stubs, the first of each left out */
	struct verify_aim {
		uint32_t branch, target, actual;
	} * aims; /* displaced branches into the middle of windows */
	size_t n_copies, cap_copies, n_aims, cap_aims;
	struct module_laid *laid; /* of a module: its plan carried out; `stubs` and `m` are its */
	size_t text_len, text_cap;
	bool nomem;
};

enum stub_use { STUB_FREE, STUB_CODE, STUB_PAD };

/* Record a failure at va: "0xc1000010: text". Later ones are counted, the first 50 keep their text. */
void verify_fail(struct verify_ctx *c, uint32_t va, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Claim [va, va + len) of the stub segment; fails the proof and returns false if out of it or taken. */
bool verify_claim(struct verify_ctx *c, uint32_t va, uint32_t len, enum stub_use use);

/* Claim [offset, offset + len) of the manifest's originals; false if outside or taken. */
bool verify_claim_original(struct verify_ctx *c, uint32_t offset, uint32_t len);

/* verify_elf.c: headers, sections, manifest and stub segment found and plausible. False: nothing more to judge. */
bool verify_elf_open(struct verify_ctx *c);
/* After the windows have marked what may differ: everything else is unchanged. */
void verify_elf_unchanged(struct verify_ctx *c);

/* verify_module.c: the same two for a kernel module, whose plan is carried out to have something to judge. */
bool verify_module_open(struct verify_ctx *c);
void verify_module_bytes(struct verify_ctx *c);
void verify_module_free(struct verify_ctx *c);

/* Mark the file bytes of [va, va + len) as allowed to differ. False if the source has no file bytes there. */
bool verify_allow(struct verify_ctx *c, uint32_t va, uint32_t len);
/* Patched bytes at a guest address of the source, NULL without. */
const uint8_t *verify_patched(const struct verify_ctx *c, uint32_t va, uint32_t len);

/* verify_window.c: every window, its bytes and surroundings. */
void verify_windows(struct verify_ctx *c);
/* verify_stub.c: the stub of window `index` in lock-step with its run [va, end) of original instructions. */
void verify_stub(struct verify_ctx *c, uint32_t index, uint32_t end);
/* verify_relay.c. An instruction of a window, not its first, begins at `stub`. */
void verify_copy_note(struct verify_ctx *c, uint32_t guest, uint32_t stub);
/* Where a displaced branch to `target` must go. It goes to `actual`; in the middle of a window that is judged later. */
uint32_t verify_aim(struct verify_ctx *c, uint32_t branch, uint32_t target, uint32_t actual);
/* When all stubs are walked: do all displaced branches go to the copies of their targets? */
void verify_aims(struct verify_ctx *c);
/* Is va reached by nothing but branches that are in windows themselves? */
bool verify_arrivals_displaced(const struct verify_ctx *c, const struct verify_text *t, uint32_t va);

/* verify_sites.c: the site table, the verified pages and the bitmap of starts. */
void verify_sites(struct verify_ctx *c);
void verify_pages(struct verify_ctx *c);
/* A byte that is to run directly: is it, or is it not, where an instruction starts? */
void verify_byte(struct verify_ctx *c, uint32_t va, bool start);
bool verify_page_verified(const struct verify_ctx *c, uint32_t va);
/* Index of the manifest's site at va, MANIFEST_NONE without. */
uint32_t verify_site_at(const struct verify_ctx *c, uint32_t va);

/* verify_op.c: does the site's op name the instruction that LLVM sees? */
bool verify_op_matches(unsigned op, const struct verify_insn *in);

/* verify_flags.c: are the arithmetic flags overwritten before they are read, whatever follows va? */
bool verify_flags_dead(struct verify_ctx *c, uint32_t va);

/* verify_padding.c: does padding that control cannot reach, without any of these marks, cover [va, va + len)? */
bool verify_is_padding(struct verify_ctx *c, uint32_t va, uint32_t len, uint8_t not_marks);

#endif
