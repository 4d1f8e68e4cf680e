// SPDX-License-Identifier: GPL-3.0-or-later
/* See guest.h. */
#include "tests/guest/lib/guest.h"

#include <stdarg.h>

uint64_t gdt[GDT_ENTRIES] = {
    [SEL_KCODE / 8] = 0x00cf9b000000ffff,
    [SEL_KDATA / 8] = 0x00cf93000000ffff,
    [SEL_UCODE / 8] = 0x00cffb000000ffff,
    [SEL_UDATA / 8] = 0x00cff3000000ffff,
};
uint64_t idt[256], ldt[8];
struct tss tss;
void (*volatile trap_hook[256])(struct frame *f);
struct frame last;
bool on_tcg;
uint32_t last_cr2, last_esp, probe_at, user_flags = 2, user_esp = USER_STACK;
static char trap_stack[8192] __attribute__((aligned(16)));

void guest_start(void);
void trap_handler(struct frame *f);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)value;
	return to;
}

/* --- output ---------------------------------------------------------------------------------------------- */

static void put(char c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, (uint8_t)c);
}

static void put_number(uint32_t value, unsigned radix, unsigned width)
{
	char digits[12];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % radix];
	while ((value /= radix));
	while (n < width)
		digits[n++] = '0';
	while (n)
		put(digits[--n]);
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (const char *f = format; *f; f++) {
		unsigned width = 0;

		if (*f != '%') {
			put(*f);
			continue;
		}
		if (*++f == '#') {
			put('0');
			put('x');
			f++;
		}
		for (; *f >= '0' && *f <= '9'; f++)
			width = width * 10 + (unsigned)(*f - '0');
		switch (*f) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		case 'c':
			put((char)va_arg(args, int));
			break;
		case 'd': {
			int32_t v = va_arg(args, int32_t);

			if (v < 0)
				put('-');
			put_number(v < 0 ? -(uint32_t)v : (uint32_t)v, 10, width);
			break;
		}
		case 'u':
			put_number(va_arg(args, uint32_t), 10, width);
			break;
		case 'x':
			put_number(va_arg(args, uint32_t), 16, width);
			break;
		default:
			put(*f);
		}
	}
	va_end(args);
}

bool guest_asked(const char *word)
{
	extern const uint32_t boot_info;
	const char *line = at_phys(((const uint32_t *)at_phys(boot_info))[4]), *last_word = line;

	for (const char *c = line; *c; c++)
		if (*c == ' ' && c[1])
			last_word = c + 1;
	while (*word && *word == *last_word)
		word++, last_word++;
	return !*word && (!*last_word || *last_word == ' ');
}

void guest_exit(uint32_t status)
{
	outb(0xf4, (uint8_t)status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* --- tables ---------------------------------------------------------------------------------------------- */

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (uint64_t)(base >> 24 & 0xff) << 56 | (uint64_t)(flags & 0xf) << 52 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(access & 0xff) << 40 | (uint64_t)(base & 0xffffff) << 16 | (limit & 0xffff);
}

uint64_t gate(uint32_t offset, uint16_t sel, unsigned access)
{
	return (uint64_t)(offset >> 16) << 48 | (uint64_t)(access & 0xff) << 40 | (uint32_t)sel << 16 | (offset & 0xffff);
}

void idt_load(uint64_t *table, unsigned limit)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) r = {(uint16_t)limit, (uint32_t)table};

	__asm__ volatile("lidt %0" ::"m"(r));
}

static void tables_init(void)
{
	for (unsigned v = 0; v < 256; v++)
		idt[v] = gate((uint32_t)trap_entries[v], SEL_KCODE, v == 3 || v == 4 || v == 0x80 ? 0xee : 0x8e);
	idt_load(idt, sizeof(idt) - 1);
	gdt[SEL_TSS / 8] = descriptor((uint32_t)&tss, sizeof(tss) - 1, A_TSS, 0);
	gdt[SEL_LDT / 8] = descriptor((uint32_t)ldt, sizeof(ldt) - 1, A_LDT, 0);
	tss.ss0 = SEL_KDATA;
	tss.esp0 = (uint32_t)trap_stack + sizeof(trap_stack);
	tss.bitmap = offsetof(struct tss, bits);
	memset(tss.bits, 0xff, sizeof(tss.bits));
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
}

/* --- exceptions ------------------------------------------------------------------------------------------ */

static uint32_t frame_esp(const struct frame *f)
{
	return f->cs & 3 ? f->esp : (uint32_t)&f->esp;
}

static void print_trap(const struct frame *f)
{
	print("#%u(%x) eip %s%x", f->vector, f->error, f->eip - probe_at < 4096 ? "+" : "", f->eip - probe_at < 4096 ? f->eip - probe_at : f->eip);
	if (f->vector == 14)
		print(" cr2 %#x", last_cr2);
}

void trap_handler(struct frame *f)
{
	if (f->vector == 14)
		last_cr2 = read_cr2();
	if (trap_hook[f->vector & 0xff]) {
		trap_hook[f->vector & 0xff](f);
		return;
	}
	memcpy(&last, f, f->cs & 3 ? sizeof(last) : offsetof(struct frame, esp));
	last_esp = frame_esp(f);
	if (catch_armed)
		catch_return();
	print("unexpected ");
	print_trap(f);
	print(" cs %x flags %x\n", f->cs, f->eflags);
	guest_exit(1);
}

void show(const char *name, bool faulted)
{
	print("%s: ", name);
	if (faulted)
		print_trap(&last);
	else
		print("ok");
	print("\n");
}

/* --- ring 3 ---------------------------------------------------------------------------------------------- */

void *user_memory(uint32_t at)
{
#ifdef GUEST_HIGH
	return at_phys(at - USER_BASE + USER_RAM);
#else
	return (void *)at;
#endif
}

#ifdef GUEST_HIGH
static uint32_t user_table[1024] __attribute__((aligned(4096)));

static void user_init(void)
{
	for (unsigned i = 0; i < USER_PAGES; i++)
		user_table[i] = (USER_RAM + i * 4096) | P | W | U;
	kernel_directory[USER_BASE >> 22] = ((uint32_t)user_table - GUEST_OFFSET) | P | W | U;
}
#else
static void user_init(void)
{
}
#endif

const char *user_from, *user_to;

void user_probe(const char *name)
{
	uint32_t size = (uint32_t)(user_to - user_from);
	uint32_t frame[5] = {USER_BASE, SEL_UCODE, user_flags, user_esp, SEL_UDATA};
	uint8_t *to = user_memory(USER_BASE);

	if (name[0] == '~' && on_tcg)
		return;
#ifdef GUEST_HIGH
	user_table[0] = 0; /* a page with other contents, as a kernel would map one */
	invlpg(USER_BASE);
	user_table[0] = USER_RAM | P | W | U;
#endif
	memcpy(to, user_from, size);
	to[size] = 0xcd; /* int $0x80 */
	to[size + 1] = 0x80;
	probe_at = USER_BASE;
	user_flags = 2;
	user_esp = USER_STACK;
	if (!catch())
		enter(frame);
	show(name, true);
}

/* --- machine --------------------------------------------------------------------------------------------- */

void pic_init(uint16_t open)
{
	static const uint8_t icw[] = {0x11, 0x20, 4, 1}, icw_slave[] = {0x11, 0x28, 2, 1};

	for (unsigned i = 0; i < 4; i++) {
		outb(i ? 0x21 : 0x20, icw[i]);
		outb(i ? 0xa1 : 0xa0, icw_slave[i]);
	}
	outb(0x21, (uint8_t)~open);
	outb(0xa1, (uint8_t)(~open >> 8));
}

void pit_start(unsigned hz)
{
	unsigned count = 1193182 / hz;

	outb(0x43, 0x34);
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

uint32_t page_alloc(void)
{
	static uint32_t next = RAM_FREE;
	uint32_t page = next;

	next += 4096;
	memset(at_phys(page), 0, 4096);
	return page;
}

void guest_start(void)
{
	uint32_t id[4];

	cpuid(0x40000000, id);
	on_tcg = id[1] == 0x54474354; /* "TCGT" */
	tables_init();
	user_init();
	pic_init(0);
	guest_main();
	guest_exit(0);
}
