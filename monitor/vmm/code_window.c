// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Windows in guest memory. While their page is verified, and so read-only, they hold the jumps that patching wrote. Before
 * the guest may write to it they are lifted: its own bytes come back, and what it writes applies to those. They are laid
 * again when the page is verified again, unless the guest changed what they replace.
 *
 * What the guest read in between it may write back (text_poke() restores the byte that a probe found): the jump's bytes
 * on top of its own count as its own.
 */
#include "monitor/vmm/code_internal.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/online.h"

#define JUMP 5	/* bytes of `jmp rel32` */
#define SHORT 2 /* of a hop's short jump */

static uint8_t *window_ram(const struct vm *vm, const struct manifest_window *w)
{
	return vm_ram(vm, gpa(w->va - vm->cfg.alias_delta), w->len);
}

static const uint8_t *original_of(const struct vm *vm, const struct manifest_window *w)
{
	return vm->manifest.originals + w->original;
}

/* How many bytes of the window the jump takes; INT3 fills the rest. */
static uint32_t jump_length(const struct manifest_window *w)
{
	return w->tactic == TACTIC_BREAKPOINT ? 0 : w->tactic == TACTIC_HOP ? SHORT : JUMP;
}

/* What patching wrote at byte n. */
static uint8_t window_byte(const struct manifest_window *w, uint32_t n)
{
	uint32_t distance = w->stub - (w->va + JUMP);

	if (n >= jump_length(w))
		return 0xcc;
	if (w->tactic == TACTIC_HOP)
		return n == 0 ? 0xeb : (uint8_t)(w->hop - (w->va + SHORT));
	return n == 0 ? 0xe9 : (uint8_t)(distance >> 8 * (n - 1));
}

static bool is_laid(const struct vm *vm, const struct manifest_window *w)
{
	return test_bit(code_of(vm)->laid, (uint32_t)(w - vm->manifest.windows));
}

/* Byte n of the window as the guest has it, `ram` being what stands there now. */
static uint8_t guest_byte(const struct vm *vm, const struct manifest_window *w, const uint8_t *ram, uint32_t n)
{
	const uint8_t *original = original_of(vm, w);
	uint32_t jump = jump_length(w);

	if (ram[n] != window_byte(w, n))
		return ram[n];
	if (n >= jump)
		return is_laid(vm, w) ? original[n] : ram[n];
	for (uint32_t i = 1; i < jump; i++) /* a jump elsewhere is the guest's */
		if (ram[i] != original[i] && ram[i] != window_byte(w, i))
			return ram[n];
	return original[n];
}

const struct manifest_window *code_window_behind(const struct vm *vm, uint32_t link)
{
	const struct manifest *m = &vm->manifest;
	uint32_t lo = 0, hi = m->h.n_windows;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (m->windows[mid].va + m->windows[mid].len <= link)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->h.n_windows ? &m->windows[lo] : NULL;
}

/* The next window, w included, that touches [.., end); NULL when there is none. */
static const struct manifest_window *until(const struct vm *vm, const struct manifest_window *w, uint32_t end)
{
	return w && w < vm->manifest.windows + vm->manifest.h.n_windows && w->va < end ? w : NULL;
}

/* Windows stand in guest memory in these modes alone. */
static bool windows_used(const struct vm *vm)
{
	return vm->cfg.mode != MODE_TRAP && !vm_long(vm);
}

static void set_laid(struct vm *vm, const struct manifest_window *w, bool on)
{
	uint8_t *ram = window_ram(vm, w);

	for (uint32_t n = 0; n < w->len; n++)
		ram[n] = on ? window_byte(w, n) : original_of(vm, w)[n];
	set_bit(code_of(vm)->laid, (uint32_t)(w - vm->manifest.windows), on);
}

static bool can_be_laid(const struct vm *vm, const struct manifest_window *w)
{
	const uint8_t *ram = window_ram(vm, w);

	for (uint32_t n = 0; n < w->len; n++)
		if (guest_byte(vm, w, ram, n) != original_of(vm, w)[n])
			return false;
	return true;
}

void code_windows_lift(struct vm *vm, uint32_t pfn)
{
	uint32_t link = (pfn << PAGE_SHIFT) + vm->cfg.alias_delta;
	const struct manifest_window *w = code_window_behind(vm, link);

	for (; windows_used(vm) && until(vm, w, link + PAGE_SIZE); w++)
		if (is_laid(vm, w))
			set_laid(vm, w, false);
}

bool code_windows_lay(struct vm *vm, uint32_t pfn)
{
	uint32_t link = (pfn << PAGE_SHIFT) + vm->cfg.alias_delta;
	const struct manifest_window *first = code_window_behind(vm, link), *w;

	if (!windows_used(vm))
		return true;
	for (w = first; until(vm, w, link + PAGE_SIZE); w++)
		if (!is_laid(vm, w) && !can_be_laid(vm, w))
			return false;
	for (w = first; until(vm, w, link + PAGE_SIZE); w++)
		if (!is_laid(vm, w))
			set_laid(vm, w, true);
	return true;
}

uint32_t code_window_neighbour(const struct vm *vm, uint32_t pfn, bool above)
{
	uint32_t link = (pfn << PAGE_SHIFT) + vm->cfg.alias_delta, edge = above ? link + PAGE_SIZE : link;
	const struct manifest_window *w = code_window_behind(vm, edge - 1);

	w = windows_used(vm) ? until(vm, w, edge) : NULL;
	return w && w->va + w->len > edge ? pfn + (above ? 1 : -1) : pfn;
}

bool code_window_fills(const struct vm *vm, uint32_t link, uint32_t n)
{
	const struct manifest_window *w = code_window_behind(vm, link);

	return windows_used(vm) && until(vm, w, link + n) && w->va + jump_length(w) < link + n && w->len > jump_length(w);
}

/* --- what the guest finds ------------------------------------------------------------------------------------ */

/* Trap mode: HLT on a site stands for its first byte. */
static void original_of_traps(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n)
{
	const struct manifest *m = &vm->manifest;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t site = bytes[i] == 0xf4 ? code_site_at(vm, linear + i) : MANIFEST_NONE;
		const struct manifest_window *w;

		if (site == MANIFEST_NONE || m->sites[site].window == MANIFEST_NONE)
			continue;
		w = &m->windows[m->sites[site].window];
		bytes[i] = original_of(vm, w)[m->sites[site].va - w->va];
	}
}

void code_original(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n)
{
	const struct manifest_window *w;
	uint32_t bit, link;

	if (!code_text_bit(vm, linear, &bit)) {
		module_original(vm, linear, bytes, n);
		return;
	}
	online_original(vm, gpa(bit + code_of(vm)->first_gpa), bytes, n);
	if (vm->cfg.mode == MODE_TRAP) {
		original_of_traps(vm, linear, bytes, n);
		return;
	}
	link = bit + code_of(vm)->first_gpa + vm->cfg.alias_delta;
	for (w = code_window_behind(vm, link); until(vm, w, link + n); w++)
		for (uint32_t i = 0; i < w->len; i++)
			if (w->va + i - link < n)
				bytes[w->va + i - link] = guest_byte(vm, w, window_ram(vm, w), i);
}
