#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Modules that nobody has patched, with the engine that executes 32-bit code directly, where the host cannot: on a host that TCG
# makes they are translated, promoted when they have settled, unloaded, and loaded again.
cd "$(dirname "$0")/../.." || exit 1
. tests/host/lib.sh
TCG_TIMEOUT=570 BOOT_TIMEOUT=540 exec tests/host/check-compat.sh unplanned
