/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where things are in a flat guest, for C and assembly. The selectors are Linux's, RPL included. */
#ifndef TESTS_GUEST_LIB_LAYOUT_H
#define TESTS_GUEST_LIB_LAYOUT_H

#define SEL_KCODE 0x60
#define SEL_KDATA 0x68
#define SEL_UCODE 0x73
#define SEL_UDATA 0x7b
#define SEL_TSS 0x80
#define SEL_LDT 0x88
#define GDT_FREE 20 /* entries from here on are the guest's own */
#define GDT_ENTRIES 64

#ifdef GUEST_HIGH
#define GUEST_OFFSET 0xc0000000
#else
#define GUEST_OFFSET 0
#endif

#define RAM_FREE 0x00800000 /* physical: free for the guest, up to RAM_END */
#define RAM_END 0x02000000
#define USER_BASE 0x40000000 /* linear: user pages under GUEST_HIGH, backed from USER_RAM on */
#define USER_RAM 0x00700000
#define USER_PAGES 64
#define USER_STACK 0x40030000

#endif
