# SPDX-License-Identifier: GPL-3.0-or-later
# One Makefile, not recursive. MODE = rel | dbg | asan | clang; everything built lands in build/$(MODE)/.
# `make check` and `make demo` are all that a fresh Debian 12 needs: they install what is missing first.
MODE ?= rel
comma := ,
CC = $(if $(filter clang,$(MODE)),clang,gcc)
B := build/$(MODE)
PREFIX ?= /usr/local

CFLAGS_rel := -O2 -g
CFLAGS_dbg := -Og -g3
CFLAGS_clang := -O2 -g -Wno-missing-field-initializers # of libseccomp's SCMP_A0()
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CPPFLAGS := -I. -D_GNU_SOURCE
DEPFLAGS = -MMD -MP -MF $@.d
CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -fPIE $(CFLAGS_$(MODE))
LLVM_CFLAGS := $(shell llvm-config-14 --cflags 2>/dev/null | tr ' ' '\n' | grep '^-I')
LDFLAGS := -pie $(if $(filter asan,$(MODE)),-fsanitize=address$(comma)undefined)
LDLIBS := -lbfd -lelf -ldw -lZydis -llzma -lz -lbz2 -lzstd -llz4 -llzo2 -ljansson -lnettle -lseccomp

# Code that runs with the guest's vector state in the registers (DESIGN: hygiene): no SSE, no stack protector
# (its canary lives behind FS), no calls to libc that could use either.
GUEST_STATE := $(wildcard monitor/vmm/*.c monitor/dev/*.c) hypercalls/policy.c

SRC := $(wildcard hypercalls/*.c patcher/*.c monitor/*.c monitor/*/*.c)
ASM := $(wildcard monitor/vmm/*.S)
OBJ := $(SRC:%.c=$(B)/%.o) $(ASM:%.S=$(B)/%.o)
LIB := $(filter-out $(B)/monitor/main.o,$(OBJ))
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
# Test programs: cmocka binaries from tests/*/test_*.c and scripts tests/*/test_*.sh, all speaking TAP.
TEST_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/*/test_*.c))
TEST_SH := $(wildcard tests/*/test_*.sh)
# Flat kernels for tests/guest: flat_* without paging at first, the others linked high as Linux is.
GUEST_ELF := $(patsubst tests/guest/%.c,$(B)/guest/%.elf,$(wildcard tests/guest/*.c))
GUEST_CFLAGS := -m32 -std=gnu11 -O1 -g -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -mgeneral-regs-only -Wall -Wextra -Werror
GUEST_LDFLAGS := -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments
# The benchmark program runs on the host and as a guest's first process: static, i386, no later than SSE2 assumed.
# bench64 is for hosts that execute no 32-bit code; what -march=i686 leaves to the 387, so must it.
BENCH_CFLAGS := -static -no-pie -fno-pie -O2 -mfpmath=387 -pthread -std=gnu11 -Wall -Wextra -Werror \
	-Wmissing-prototypes -Wstrict-prototypes
BENCH_BIN := $(B)/bench/bench $(B)/bench/bench64
# A guest's program that throws, cancels and unwinds: static, i386. clang, because it brings what compiles C++.
UNWIND_FLAGS := -m32 -march=i686 -msse2 -O1 -fno-pie -fexceptions -fasynchronous-unwind-tables -pthread -Wall -Wextra -Werror
UNWIND_OBJ := $(patsubst %,$(B)/%.o,$(wildcard tests/unwind/*.c tests/unwind/*.cc))
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_RUNS ?= 20000

.PHONY: all rebase setup check check-ready check-compat check-compat-ready unit flat demo guests boots boot-time bench \
	headers layers tidy format format-check fuzz fuzz-run install docs clean distclean
all: $(B)/paravane

$(B)/paravane: $(OBJ)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Structs are filled and copied by `rep` without vector registers, which takes 30 cycles to start.
INLINE_STRUCTS := -mmemset-strategy=unrolled_loop:256:noalign,rep_8byte:-1:noalign \
	-mmemcpy-strategy=unrolled_loop:256:noalign,rep_8byte:-1:noalign
$(GUEST_STATE:%.c=$(B)/%.o): CFLAGS += -mgeneral-regs-only -fno-stack-protector -fno-sanitize=all \
	$(if $(filter clang,$(MODE)),-fno-builtin,-fno-tree-loop-distribute-patterns $(INLINE_STRUCTS))
$(B)/patcher/verify%.o: CPPFLAGS += $(LLVM_CFLAGS)
$(B)/tests/unit/test_decode $(B)/tests/unit/test_policy: CPPFLAGS += $(LLVM_CFLAGS)
$(B)/tests/unit/test_decode $(B)/tests/unit/test_policy: LDLIBS += -lLLVM-14
$(B)/patcher/report_page.o: $(wildcard patcher/page/*)
$(B)/patcher/recipe_data.o: $(wildcard guest-patches/*.recipe)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(DEPFLAGS) $(CFLAGS) -c -o $@ $<
$(B)/%.o: %.S Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(DEPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/tests/fuzz/fuzz_long $(B)/tests/fuzz/fuzz_interpret $(B)/tests/unit/test_long_fuzz $(B)/tests/unit/test_interpret_fuzz: LDLIBS += -lunicorn

# A test links against everything but main(); the linker takes what it needs from the archive.
$(B)/libparavane.a: $(LIB)
	rm -f $@ && ar rcs $@ $^
$(B)/tests/%: tests/%.c $(B)/libparavane.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(DEPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libparavane.a -lcmocka $(LDLIBS)

print-%:
	@echo "$($*)"

guest_link = $(if $(filter flat_%,$(notdir $(1))),flat,high)
$(B)/guest/%.elf: tests/guest/%.c $(wildcard tests/guest/lib/*) Makefile
	@mkdir -p $(@D)
	gcc -I. $(GUEST_CFLAGS) $(if $(filter high,$(call guest_link,$*)),-DGUEST_HIGH) $(GUEST_LDFLAGS) \
		-T tests/guest/lib/$(call guest_link,$*).ld -o $@ tests/guest/lib/boot.S tests/guest/lib/guest.c $<

setup:
	@tests/setup.sh

# Packages that setup installs change what this file finds (llvm-config), so the rest runs in a second make.
check: setup
	@$(MAKE) --no-print-directory -j$$(nproc) check-ready
check-ready: all $(TEST_BIN) $(GUEST_ELF) $(BENCH_BIN) $(B)/unwind/unwind $(B)/docs/gen/tables guests
	@B=$(B) tests/run $(sort $(TEST_SH)) $(sort $(TEST_BIN))
flat: all $(GUEST_ELF)
	@B=$(B) tests/run tests/guest/test_guests.sh
unit: $(UNIT)
	@B=$(B) tests/run $(UNIT)

# Write the expected results of the golden tests anew; review the diff.
rebase: $(B)/tests/golden/test_golden
	REBASE=1 $<

# The guests are fetched once; `make clean` leaves them.
guests:
	@tests/boot/guests.sh && tests/boot/initrd.sh

demo: setup
	@$(MAKE) --no-print-directory -j$$(nproc) all guests
	@B=$(B) tests/boot/demo.sh
# What only a host that executes 32-bit code shows, on a host that QEMU makes.
check-compat: setup
	@$(MAKE) --no-print-directory check-compat-ready
check-compat-ready: all guests $(GUEST_ELF) $(B)/tests/unit/test_probe $(patsubst %.c,$(B)/%,$(shell grep -l '"tests/unit/native.h"' tests/unit/test_*.c))
	@B=$(B) tests/host/check-compat.sh
boots: all guests
	@B=$(B) BOOTS=10 PARAVANE_TEST_TIMEOUT=7200 tests/run $(wildcard tests/boot/test_boot_*.sh)
boot-time: all guests
	@B=$(B) tests/boot/compare-qemu.sh

$(B)/bench/bench: BENCH_CFLAGS += -m32 -march=i686
$(B)/bench/bench: BENCH_NOT := %/vsys64.c
$(B)/bench/bench64: BENCH_CFLAGS += -fno-tree-vectorize
$(B)/bench/bench64: BENCH_NOT := %/vsys.c
$(BENCH_BIN): $(wildcard tests/bench/*.c tests/bench/*.h) Makefile
	@mkdir -p $(@D)
	gcc $(CPPFLAGS) $(BENCH_CFLAGS) -o $@ $(filter-out $(BENCH_NOT),$(filter %.c,$^))
$(B)/tests/unwind/%.c.o: tests/unwind/%.c tests/unwind/unwind.h Makefile
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(UNWIND_FLAGS) -std=gnu11 -c -o $@ $<
$(B)/tests/unwind/%.cc.o: tests/unwind/%.cc tests/unwind/unwind.h Makefile
	@mkdir -p $(@D)
	clang++ $(CPPFLAGS) $(UNWIND_FLAGS) -c -o $@ $<
$(B)/unwind/unwind: $(UNWIND_OBJ)
	@mkdir -p $(@D)
	clang++ -m32 -static -pthread -o $@ $^
bench: all guests $(BENCH_BIN)
	@B=$(B) tests/bench/run.py

headers:
	@tests/checks/test_headers.sh
layers: all
	@B=$(B) tests/checks/test_layers.sh && B=$(B) tests/checks/test_guest_state.sh
tidy:
	@tests/checks/tidy.sh
format:
	git ls-files '*.[ch]' | xargs clang-format -i
format-check:
	git ls-files '*.[ch]' | xargs clang-format --dry-run -Werror

# Each fuzzer takes a number of runs. They belong in a sanitizer build, whatever MODE says; but that of long blocks has
# its guest's memory where the sanitizer has its own.
FUZZ_PLAIN := fuzz_long fuzz_interpret
fuzz:
	@$(MAKE) --no-print-directory MODE=asan FUZZ='$(filter-out $(addprefix %/,$(FUZZ_PLAIN)),$(FUZZ:$(B)/%=build/asan/%))' fuzz-run
	@$(MAKE) --no-print-directory MODE=rel FUZZ='$(addprefix build/rel/tests/fuzz/,$(FUZZ_PLAIN))' fuzz-run
fuzz-run: $(FUZZ)
	@for f in $(FUZZ); do echo "== $$f"; $$f $(FUZZ_RUNS) || exit 1; done

install: all
	install -D -m 755 $(B)/paravane $(DESTDIR)$(PREFIX)/bin/paravane
docs: $(B)/docs/gen/tables
	@B=$(B) docs/gen/docs.sh
$(B)/docs/gen/tables: docs/gen/tables.c $(B)/libparavane.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(DEPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libparavane.a $(LDLIBS)

clean:
	rm -rf build/rel build/dbg build/asan build/clang
distclean:
	rm -rf build

-include $(OBJ:=.d) $(TEST_BIN:=.d) $(FUZZ:=.d)
