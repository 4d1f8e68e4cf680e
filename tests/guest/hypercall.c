// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A guest that knows where it runs: the services of hypercalls/abi.h by VMCALL, VMMCALL and through the gate. This is
 * the example that docs/abi.md speaks of. QEMU has no such hypervisor, so it is not asked.
 */
#include "hypercalls/abi.h"
#include "tests/guest/lib/guest.h"

static uint32_t hole;

static uint32_t vmcall(uint32_t number, uint32_t argument)
{
	__asm__ volatile("vmcall" : "+a"(number) : "b"(argument) : "memory");
	return number;
}

static uint32_t vmmcall(uint32_t number, uint32_t argument)
{
	__asm__ volatile("vmmcall" : "+a"(number) : "b"(argument) : "memory");
	return number;
}

static uint32_t gate_call(uint32_t number, uint32_t argument)
{
	struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) gate = {hole + GATE_CALL, ABI_HOST_CS64};

	__asm__ volatile("lcall *%2" : "+a"(number) : "b"(argument), "m"(gate) : "memory");
	return number;
}

static void say(const char *text, uint32_t (*call)(uint32_t, uint32_t))
{
	for (; *text; text++)
		call(ABI_CALL_PUTCHAR, (uint8_t)*text);
}

void guest_main(void)
{
	uint32_t id[4], before;

	cpuid(0x40000100, id);
	hole = id[0];
	print("hole %x %s\n", hole, id[1] == 0x61726150 ? "ParavaneHole" : "?");
	print("version %u %u\n", vmcall(ABI_CALL_VERSION, 0), vmmcall(ABI_CALL_VERSION, 0));
	say("by vmcall\n", vmcall);
	say("by vmmcall\n", vmmcall);
	print("unknown %d\n", (int32_t)vmcall(1000, 0));
	before = vmcall(ABI_CALL_STATS, 0);
	print("stats %u, bad %d\n", vmcall(ABI_CALL_STATS, 0) >= before, (int32_t)vmcall(ABI_CALL_STATS, 100000));
	USER("not for ring 3", "vmcall");
	say("by the gate\n", gate_call);
	print("version %u\n", gate_call(ABI_CALL_VERSION, 0));
	vmcall(ABI_CALL_EXIT, 0);
	print("not reached\n");
}
