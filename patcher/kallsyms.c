// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 1.2: The names in a stripped kernel
 *
 * A stripped Linux kernel still knows its own functions: scripts/kallsyms.c of Linux writes them into .rodata
 * for backtraces. Nothing points at the tables from outside, so they are found by their content:
 *
 *     addresses, or 32-bit offsets followed by their base   (until 6.3 here; from 6.4 behind the token index)
 *     number of symbols
 *     names: for each symbol a length and that many tokens; the first character of the text is the nm letter
 *     markers: offset into names of every 256th symbol      (32 bits; a word before 4.20)
 *     sequence numbers by name                              (6.2 and 6.3 here; from 6.4 behind the base)
 *     token table: 256 strings; token index: 256 16-bit offsets into it
 *
 * each aligned to a word. The token index must agree with the token table byte for byte, the markers with the
 * names, and the names with the number: chance does not pass for a table, and damage is seen.
 */
#include "patcher/kallsyms.h"

#include <errno.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define TOKENS	      256
#define MARK_EVERY    256
#define SYMBOLS_MAX   4000000
#define NAME_MAX_LEN  1024
#define SEARCH_BUDGET 50000000
#define TAIL_MAX      (MARK_EVERY * 256) /* bytes of names behind the last marker, generously */

struct tables {
	const struct image *img;
	const struct image_section *sec;
	const uint8_t *p; /* the section's bytes: all offsets below are into it */
	size_t size, word;
	size_t tokens, index, index_end;
	size_t markers, marker_size;
	size_t n_symbols_at, names, n;
	bool big_lengths; /* two-byte lengths (6.1 and later) */
	long budget;	  /* comparisons left: a hostile image must not make the search quadratic */
};

static size_t align_up(const struct tables *k, size_t at)
{
	uint64_t va = k->sec->va + at;

	return at + (-va & (k->word - 1));
}

/* 256 strings from `start`, then an index that gives exactly their offsets. */
static bool check_tokens(struct tables *k, size_t start)
{
	uint32_t offsets[TOKENS];
	size_t at = start;

	for (int i = 0; i < TOKENS; i++) {
		const uint8_t *end = memchr(k->p + at, 0, k->size - at);

		if (!end)
			return false;
		offsets[i] = at - start;
		at = end - k->p + 1;
		if (at >= k->size)
			return false;
	}
	at = align_up(k, at);
	if (at > k->size || k->size - at < 2 * TOKENS)
		return false;
	for (int i = 0; i < TOKENS; i++)
		if (le16(k->p + at + 2 * i) != offsets[i])
			return false;
	k->tokens = start;
	k->index = at;
	k->index_end = at + 2 * TOKENS;
	return true;
}

/* Single characters in use are their own tokens, so the digits stand in a row: "0\0" "1\0" ... "9\0". */
static bool find_tokens(struct tables *k, size_t *from)
{
	static const uint8_t digits[] = "0\0"
					"1\0"
					"2\0"
					"3\0"
					"4\0"
					"5\0"
					"6\0"
					"7\0"
					"8\0"
					"9";
	size_t at = *from;

	while (at < k->size) {
		const uint8_t *hit = memmem(k->p + at, k->size - at, digits, sizeof(digits));
		size_t low, high, nuls = 0;

		if (!hit)
			return false;
		at = hit - k->p + 1;
		/*
		 * 48 strings lie before "0", so the table starts at a word boundary behind the 49th NUL going
		 * back and not behind the 48th: what precedes the table need not end in a NUL.
		 */
		low = high = hit - k->p;
		while (low > 0 && nuls <= '0' && high - low < NAME_MAX_LEN) {
			nuls += !k->p[--low];
			if (nuls < '0' || (nuls == '0' && !k->p[low]))
				high = low; /* only what follows may be data, of any length: the limit is for
					       it */
		}
		if (nuls < '0')
			continue;
		for (size_t start = align_up(k, nuls > '0' ? low + 1 : low); start <= high; start += k->word)
			if (--k->budget < 0 || check_tokens(k, start)) {
				*from = at;
				return k->budget >= 0;
			}
	}
	return false;
}

/* The length of the name at `at`; 0 when it does not fit before `end`. *data is set to its first token. */
static size_t name_length(const struct tables *k, size_t at, size_t end, size_t *data)
{
	size_t len;

	if (at >= end)
		return 0;
	len = k->p[at++];
	if (k->big_lengths && (len & 0x80)) {
		if (at >= end)
			return 0;
		len = (len & 0x7f) | (size_t)k->p[at++] << 7;
	}
	*data = at;
	return len <= end - at ? len : 0;
}

static uint64_t marker(const struct tables *k, size_t i)
{
	const uint8_t *p = k->p + k->markers + i * k->marker_size;

	return k->marker_size == 8 ? le64(p) : le32(p);
}

/* Walk n names from `names`: every 256th must lie where its marker says, the last end just before the
 * markers. */
static bool check_names(struct tables *k, size_t names, size_t n)
{
	size_t at = names, data, len;

	for (size_t i = 0; i < n; i++) {
		k->budget--;
		if (i % MARK_EVERY == 0 && marker(k, i / MARK_EVERY) != at - names)
			return false;
		len = name_length(k, at, k->markers, &data);
		if (!len)
			return false;
		at = data + len;
	}
	return align_up(k, at) == k->markers;
}

/* Do `count` markers at k->markers fit a number of symbols and names in front of them? */
static bool find_names(struct tables *k, size_t count)
{
	size_t last = marker(k, count - 1), at, n;

	if (last >= k->markers)
		return false;
	at = align_up(k, k->markers - last) - k->word;
	for (size_t tail = 0; tail < TAIL_MAX && at >= k->word; tail += k->word, at -= k->word) {
		n = le32(k->p + at - k->word);
		if (--k->budget < 0)
			return false;
		if ((n + MARK_EVERY - 1) / MARK_EVERY != count)
			continue;
		for (int big = 1; big >= 0; big--) {
			k->big_lengths = big;
			if (check_names(k, at, n)) {
				k->n_symbols_at = at - k->word;
				k->names = at;
				k->n = n;
				return true;
			}
		}
	}
	return false;
}

/* Markers are a zero and then ascending offsets. Search backward from the tokens; they are near. */
static bool find_markers(struct tables *k)
{
	for (int wide = 0; wide < (k->word == 8 ? 2 : 1); wide++) {
		k->marker_size = wide ? 8 : 4;
		for (size_t at = k->tokens - k->word; at >= 2 * k->word && at < k->tokens && k->budget > 0;
		     at -= k->word) {
			size_t count = 1, room = (k->tokens - at) / k->marker_size;
			uint64_t prev = 0, v;

			if (le32(k->p + at) || (wide && le32(k->p + at + 4)))
				continue;
			k->markers = at;
			/* 256 names take 512 bytes at least and 256 times 130 at most. */
			while (count < room && (v = marker(k, count)) >= prev + 2 * MARK_EVERY &&
			       v <= prev + TAIL_MAX) {
				prev = v;
				count++;
			}
			if (count == 1 && k->tokens - at > 4 * k->word)
				continue; /* a zero, not a table: one marker is a kernel of under 256 symbols
					   */
			if (find_names(k, count))
				return true;
		}
	}
	return false;
}

/* Addresses before the number of symbols (until 6.3) or behind the token index (from 6.4). */
struct addresses {
	size_t at;
	bool relative, percpu; /* percpu: offsets >= 0 are absolute, negative ones count down from base - 1 */
	uint64_t base;
};

static uint64_t word_at(const struct tables *k, size_t at)
{
	return k->word == 8 ? le64(k->p + at) : le32(k->p + at);
}

static uint64_t address_of(const struct tables *k, const struct addresses *a, size_t i)
{
	int32_t off;

	if (!a->relative)
		return word_at(k, a->at + i * k->word);
	off = les32(k->p + a->at + 4 * i);
	if (!a->percpu)
		return image_wrap(k->img, a->base + (uint32_t)off);
	return image_wrap(k->img, off >= 0 ? (uint64_t)off : a->base - 1 - off);
}

/* Symbols are sorted (per-CPU ones of x86-64 apart) and nearly all lie inside the image. */
static bool check_addresses(const struct tables *k, const struct addresses *a)
{
	uint64_t prev = 0, lo = UINT64_MAX, hi = 0, va;
	size_t inside = 0, unsorted = 0;

	for (size_t i = 0; i < k->img->n_sections; i++) {
		const struct image_section *s = &k->img->sections[i];

		if (s->alloc && s->va < lo)
			lo = s->va;
		if (s->alloc && s->va + s->size > hi)
			hi = s->va + s->size;
	}
	for (size_t i = 0; i < k->n; i++) {
		va = address_of(k, a, i);
		inside += va >= lo && va <= hi;
		unsorted += va < prev;
		prev = va;
	}
	return unsorted <= 2 && inside >= k->n - k->n / 16;
}

static bool try_addresses(const struct tables *k, struct addresses *a)
{
	if (a->at > k->size || k->size - a->at < k->n * (a->relative ? 4 : k->word))
		return false;
	for (int percpu = 0; percpu < (a->relative ? 2 : 1); percpu++) {
		a->percpu = percpu;
		if (check_addresses(k, a))
			return true;
	}
	return false;
}

static bool find_addresses(const struct tables *k, struct addresses *a)
{
	size_t bytes = (4 * k->n + k->word - 1) / k->word * k->word;

	a->relative = true;
	if (k->n_symbols_at >= k->word + bytes) {
		a->base = word_at(k, k->n_symbols_at - k->word);
		a->at = k->n_symbols_at - k->word - bytes;
		if (try_addresses(k, a))
			return true;
	}
	a->at = align_up(k, k->index_end);
	if (a->at + bytes + k->word <= k->size) {
		a->base = word_at(k, a->at + bytes);
		if (try_addresses(k, a))
			return true;
	}
	a->relative = false;
	if (k->n_symbols_at >= k->n * k->word) {
		a->at = k->n_symbols_at - k->n * k->word;
		return try_addresses(k, a);
	}
	return false;
}

/* Expand the tokens of one name into buf; false when it is empty, too long or not printable. */
static bool expand(const struct tables *k, size_t data, size_t len, char *buf)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		const char *token =
		    (const char *)k->p + k->tokens + le16(k->p + k->index + 2 * k->p[data + i]);
		size_t n = strlen(token);

		if (used + n >= NAME_MAX_LEN)
			return false;
		memcpy(buf + used, token, n);
		used += n;
	}
	buf[used] = '\0';
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)buf[i] <= ' ' || (unsigned char)buf[i] >= 0x7f)
			return false;
	return used >= 2;
}

static int read_symbols(struct image *img, const struct tables *k, const struct addresses *a)
{
	size_t at = k->names, data = 0, len, bad = 0;
	char buf[NAME_MAX_LEN];

	for (size_t i = 0; i < k->n; i++, at = data + len) {
		len = name_length(k, at, k->markers, &data);
		if (!expand(k, data, len, buf)) {
			bad++;
			continue;
		}
		if (image_add_symbol(img, address_of(k, a, i), 0, buf[0], strdup(buf + 1)))
			return -ENOMEM;
	}
	if (bad)
		image_note(img, "kallsyms: %zu of %zu names cannot be read", bad, k->n);
	return 0;
}

static int read_section(struct image *img, const struct image_section *sec)
{
	struct tables k = {.img = img,
			   .sec = sec,
			   .p = sec->data,
			   .size = sec->size,
			   .word = img->width / 8,
			   .budget = SEARCH_BUDGET};
	struct addresses a = {0};
	size_t from = 0;
	int err = -ENOENT;

	while (find_tokens(&k, &from)) {
		if (!find_markers(&k) || k.n > SYMBOLS_MAX)
			image_note(img, "kallsyms: tokens at 0x%llx, but no names that fit them",
				   (unsigned long long)(sec->va + k.tokens));
		else if (!find_addresses(&k, &a))
			image_note(img, "kallsyms: %zu names at 0x%llx, but no addresses that fit them", k.n,
				   (unsigned long long)(sec->va + k.names));
		else
			return read_symbols(img, &k, &a);
		err = -EINVAL;
	}
	return err;
}

int kallsyms_read(struct image *img)
{
	int err = -ENOENT, r;

	if (img->width != 32 && img->width != 64)
		return -ENOENT;
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];

		if (!s->alloc || !s->data || !strcmp(s->name, ".text"))
			continue;
		r = read_section(img, s);
		if (r == -ENOENT)
			continue;
		err = r;
		if (!r || r == -ENOMEM)
			break;
	}
	if (err)
		image_drop_symbols(img);
	return err;
}
