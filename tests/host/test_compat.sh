#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The engine that executes 32-bit code directly, where the host cannot: one boot on a host that TCG makes, checked
# against the battery, and one that loads patched modules. `make check-compat` is the whole of it.
cd "$(dirname "$0")/../.." || exit 1
. tests/host/lib.sh
TCG_TIMEOUT=570 BOOT_TIMEOUT=540 MODES=--mode=auto exec tests/host/check-compat.sh boots modules
