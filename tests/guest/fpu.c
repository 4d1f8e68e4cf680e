// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The x87's pointers to its last instruction and to that one's operand (SDM 1 8.1.8), as FNSTENV, FNSAVE, FXSAVE and XSAVE
 * store them: EAX is the instruction pointer, EBX the opcode, ECX the operand pointer. Processors differ in what they
 * keep while no exception is pending (AMD: nothing over a page fault): without one only FNSTENV is asked, and only for the
 * instruction pointer. (QEMU 7's TCG stores no opcode, by FXSAVE no pointers, and takes control instructions for others.)
 */
#include "tests/guest/lib/code.h"

/* A page of data, and one without RAM behind it. */
enum { AREA = 0x60200000, NO_RAM = 0x60300000, SEL_AREA = GDT_FREE * 8 + 3 };
static struct area {
	uint32_t unmasked; /* control word: zero divide and invalid operation */
	uint32_t xsave;	   /* is there XSAVE? */
	uint32_t zero[2];
	uint32_t reserved[60];
	uint32_t image[512];
} * area;

#define UNMASKED "0x60200000"
#define HAS_XSAVE "0x60200004"
#define ZERO "0x60200008"
#define IMAGE "0x60200100"
#define PENDING "fninit; fldcw " UNMASKED "; fld1; "
#define FNSTENV_IP "fnstenv " IMAGE "; mov 0x6020010c, %eax"
#define POINTERS_OF(store)                                                                                   \
	store " " IMAGE "; mov 0x6020010c, %eax; movzwl 0x60200112, %ebx; mov 0x60200114, %ecx; and $0x7ff, %ebx; fnclex"
#define FX_POINTERS "mov 0x60200108, %eax; movzwl 0x60200106, %ebx; mov 0x60200110, %ecx; fnclex"
#define WITH_FS "mov $0xa3, %eax; mov %eax, %fs; "
#define WITHOUT_FS "xor %eax, %eax; mov %eax, %fs; "

_Static_assert(SEL_AREA == 0xa3, "WITH_FS");

/* Where nothing is kept, a switch of tasks on the host may come between as well: then once more. */
#define TRY(code) "mov $1000, %ecx; 1: " code "; test %eax, %eax; loopz 1b; xor %ecx, %ecx"

static void instruction_pointer(void)
{
	CODE("FNSTENV", 0x60000000, TRY("fninit; fld1; " FNSTENV_IP));
	CODE("where am I", 0x60000123, TRY("sub $32, %esp; mov %eax, -12(%esp); fldz; fnstenv -12(%esp); pop %eax; add $28, %esp"));
	CODE("twice", 0x60000000, TRY("fninit; fldpi; fnstenv " IMAGE "; " FNSTENV_IP));
	CODE("~after control instructions", 0x60000000,
	     TRY("fninit; fldpi; fldcw " UNMASKED "; fnstcw " IMAGE "; fnstsw %ax; " FNSTENV_IP));
	CODE("an operand without RAM", 0x60000000, TRY("fninit; flds 0x60300010; " FNSTENV_IP));
}

static void pending(void)
{
	CODE("~FNSTENV, an exception pending", 0x60000000,
	     PENDING "fdivs " ZERO "; " POINTERS_OF("fnstenv"));
	CODE("~FNSAVE", 0x60000000, PENDING "fdivs " ZERO "; " POINTERS_OF("fnsave"));
	CODE("~a base and a displacement", 0x60000000,
	     PENDING "mov $" ZERO " - 0x50, %edx; fdivl 0x50(%edx); " POINTERS_OF("fnstenv"));
	CODE("~an index", 0x60000000,
	     PENDING "mov $" ZERO " / 8, %edx; fidivl (,%edx,8); " POINTERS_OF("fnstenv"));
	CODE("~no operand", 0x60000000,
	     PENDING "fldz; fdivrp %st, %st(1); " POINTERS_OF("fnstenv") "; xor %ecx, %ecx");
	CODE("~FS", 0x60000000,
	     PENDING WITH_FS "mov $8, %edx; fdivs %fs:(%edx); " WITHOUT_FS POINTERS_OF("fnstenv"));
	CODE("~FS, an address of 16 bits", 0x60000000,
	     PENDING WITH_FS "mov $0xffff0007, %ebx; addr16 fdivs %fs:1(%bx); " WITHOUT_FS POINTERS_OF("fnstenv"));
	CODE("~FXSAVE", 0x60000000, PENDING "fdivs " ZERO "; fxsave " IMAGE "; " FX_POINTERS);
	CODE("~XSAVE or FXSAVE", 0x60000000,
	     PENDING "fdivs " ZERO "; mov $1, %eax; xor %edx, %edx; cmpl $0, " HAS_XSAVE "; je 1f; xsave " IMAGE
		     "; jmp 2f; 1: fxsave " IMAGE "; 2: " FX_POINTERS);
	CODE("FWAIT", 0x60000000, PENDING "fdivs " ZERO "; inc %eax; fwait");
}

/* The kernel stores what ring 3 has left. */
static void of_ring_3(void)
{
	CODE("left pending", 0x60000000, PENDING "fdivs " ZERO "; inc %eax");
	if (!on_tcg) {
		__asm__ volatile("fxsave %0" : "=m"(area->image));
		print("~seen by the kernel: eip %x operand %x opcode %x\n", area->image[2], area->image[4],
		      area->image[1] >> 16);
	}
	__asm__ volatile("fnsave %0" : "=m"(area->image));
	print("seen again: eip %x operand %x\n", area->image[3], area->image[5]);
}

/* Of code that is gone since; a monitor may run the one and the other differently (code.h, "computing"). */
static void of_code_before(void)
{
	uint32_t frame[5] = {CODE_BASE, SEL_UCODE, 2, USER_STACK, SEL_UDATA};

	CODE_BYTES(0x60000000, PENDING "fdivs " ZERO "; inc %eax");
	code_lay(CODE_BASE);
	if (!catch ())
		enter(frame);
	CODE_BYTES(0x60000000, "inc %eax");
	code_run_in("something else", CODE_BASE, 3);
	CODE_BYTES(0x60000000, POINTERS_OF("fnstenv"));
	code_run_in("~pending since before", CODE_BASE, 3);
}

static void set_up(void)
{
	uint32_t frame = page_alloc(), id[4];

	area = at_phys(frame);
	code_table[(AREA - CODE_BASE) >> 12] = frame | P | W | U;
	code_table[(NO_RAM - CODE_BASE) >> 12] = 0xd0000000 | P | W | U;
	gdt[GDT_FREE] = descriptor(AREA, 0xfffff, A_DATA | A_DPL3, G_4K | G_32);
	write_cr4(read_cr4() | 0x600);		/* OSFXSR, OSXMMEXCPT */
	write_cr0((read_cr0() | 0x22) & ~0xcu); /* NE, MP; not EM, TS */
	area->unmasked = 0x37f & ~5;
	cpuid(1, id);
	if (id[2] & 1 << 26) {
		write_cr4(read_cr4() | 0x40000); /* OSXSAVE */
		area->xsave = 1;
	}
}

void guest_main(void)
{
	code_init();
	set_up();
	of_code_before();
	instruction_pointer();
	pending();
	of_ring_3();
}
