# SPDX-License-Identifier: GPL-3.0-or-later
# One Makefile, not recursive. MODE = rel | dbg | asan; everything built lands in build/$(MODE)/.
MODE ?= rel
CC = gcc
B := build/$(MODE)
PREFIX ?= /usr/local

CFLAGS_rel := -O2 -g
CFLAGS_dbg := -Og -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CPPFLAGS := -I. -D_GNU_SOURCE -MMD -MP
CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -fPIE $(CFLAGS_$(MODE))
LLVM_CFLAGS := $(shell llvm-config-14 --cflags 2>/dev/null | tr ' ' '\n' | grep '^-I')
LDFLAGS := -pie $(if $(filter asan,$(MODE)),-fsanitize=address$(comma)undefined)
LDLIBS := -lbfd -lelf -ldw -lZydis -lLLVM-14 -llzma -lz -lbz2 -lzstd -llz4 -llzo2 -ljansson -lnettle -lseccomp
comma := ,

# Code that runs with the guest's vector state in the registers (DESIGN: hygiene): no SSE, no stack protector
# (its canary lives behind FS), no calls to libc that could use either.
GUEST_STATE := $(wildcard monitor/vmm/*.c monitor/dev/*.c)

SRC := $(wildcard hypercalls/*.c patcher/*.c monitor/*.c monitor/*/*.c)
ASM := $(wildcard monitor/vmm/*.S)
OBJ := $(SRC:%.c=$(B)/%.o) $(ASM:%.S=$(B)/%.o)
LIB := $(filter-out $(B)/monitor/main.o,$(OBJ))
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all clean
all: $(B)/paravane

$(B)/paravane: $(OBJ)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(GUEST_STATE:%.c=$(B)/%.o): CFLAGS += -mgeneral-regs-only -fno-stack-protector -fno-tree-loop-distribute-patterns \
	-fno-sanitize=all
$(B)/patcher/verify%.o: CPPFLAGS += $(LLVM_CFLAGS)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(B)/%.o: %.S Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# A unit test links against everything but main(); the linker takes what it needs from the archive.
$(B)/libparavane.a: $(LIB)
	rm -f $@ && ar rcs $@ $^
$(B)/tests/unit/%: tests/unit/%.c $(B)/libparavane.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libparavane.a -lcmocka $(LDLIBS)
unit: $(UNIT)
	@for t in $(UNIT); do echo "== $$t"; $$t || exit 1; done

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(UNIT:=.d)
