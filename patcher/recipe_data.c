// SPDX-License-Identifier: GPL-3.0-or-later
/* The recipe files, compiled in: the command finds them wherever it is installed. */
#include "patcher/recipe_data.h"

#define EMBED(name, file)                                                                                    \
	__asm__(".pushsection .rodata\n"                                                                     \
		".globl recipe_" #name "_start, recipe_" #name "_end\n"                                      \
		"recipe_" #name "_start: .incbin \"" file "\"\n"                                             \
		"recipe_" #name "_end: .byte 0\n"                                                            \
		".popsection\n");                                                                            \
	extern const char recipe_##name##_start[], recipe_##name##_end[]

EMBED(linux_i386, "guest-patches/linux-i386.recipe");

const struct recipe_file recipe_files[] = {
    {"linux-i386.recipe", recipe_linux_i386_start, recipe_linux_i386_end},
    {0},
};
