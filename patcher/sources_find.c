// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which file has the DWARF of an image. Debuggers agree on the places (GDB manual, "Debugging Information in Separate
 * Files"): the file itself; .build-id/NN/REST.debug under the root of debug files; what .gnu_debuglink names, beside the
 * file, in .debug beside it and at the same path under the root. Debian has kernels and modules there under their own
 * names, vmlinux for vmlinuz; Fedora appends .debug. A file that is found has to prove that it belongs: by the build ID, or for
 * a debuglink by its checksum.
 */
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "patcher/image_internal.h"
#include "patcher/sources_internal.h"

#define ROOT "/usr/lib/debug"

/* What the image says of its debug file. */
struct wanted {
	const uint8_t *id; /* build ID, or NULL */
	size_t id_size;
	const char *link; /* .gnu_debuglink, or NULL */
	uint32_t crc;
	bool self; /* the DWARF is here */
};

/* --- the image --- */

/* The ELF file as it was read: of a module what the sections were cut from. */
static const uint8_t *elf_bytes(const struct image *img, size_t *size)
{
	*size = img->container == IMAGE_MODULE ? img->file_size : img->elf_size;
	return img->container == IMAGE_MODULE ? img->file : img->elf;
}

static bool is_debug_info(const char *name)
{
	return !strcmp(name, ".debug_info") || !strcmp(name, ".zdebug_info");
}

static bool has_debug_info(Elf *elf)
{
	Elf_Scn *scn = NULL;
	size_t names;
	GElf_Shdr sh;

	if (elf_getshdrstrndx(elf, &names))
		return false;
	while ((scn = elf_nextscn(elf, scn))) {
		const char *name = gelf_getshdr(scn, &sh) ? elf_strptr(elf, names, sh.sh_name) : NULL;

		if (name && is_debug_info(name) && sh.sh_type != SHT_NOBITS)
			return true;
	}
	return false;
}

static struct wanted wanted_of(Elf *elf)
{
	struct wanted w = {0};
	const void *id = NULL;
	GElf_Word crc = 0;
	ssize_t n;

	if (!elf || elf_kind(elf) != ELF_K_ELF)
		return w;
	n = dwelf_elf_gnu_build_id(elf, &id);
	if (n > 1) {
		w.id = id;
		w.id_size = (size_t)n;
	}
	w.link = dwelf_elf_gnu_debuglink(elf, &crc);
	w.crc = crc;
	if (w.link && (!*w.link || strchr(w.link, '/')))
		w.link = NULL;
	w.self = has_debug_info(elf);
	return w;
}

/* --- opening --- */

/* Nothing but what is named here is opened, and no server is asked. */
static int find_nothing(Dwfl_Module *mod, void **data, const char *name, Dwarf_Addr base, const char *file,
			const char *link, GElf_Word crc, char **found)
{
	(void)mod, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)found;
	return -1;
}

static int find_no_elf(Dwfl_Module *mod, void **data, const char *name, Dwarf_Addr base, char **file,
		       Elf **elf)
{
	(void)mod, (void)data, (void)name, (void)base, (void)file, (void)elf;
	return -1;
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = find_no_elf,
    .find_debuginfo = find_nothing,
    .section_address = dwfl_offline_section_address,
};

/* The file at path, or the size bytes if there are any. On failure f is as it was. -EINVAL with libdw's reason in d. */
static int debug_file_open(struct debug_file *f, const char *path, const uint8_t *bytes, size_t size,
			   struct diag *d)
{
	struct debug_file g = {.path = strdup(path), .dwfl = dwfl_begin(&callbacks)};
	int fd = -1, err = 0;
	GElf_Addr bias;

	if (!g.path || !g.dwfl)
		err = diag_set(d, -ENOMEM, "%s: out of memory", path);
	else if (!bytes && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0)
		err = diag_set(d, -errno, "%s: %s", path, strerror(errno));
	if (!err) {
		dwfl_report_begin(g.dwfl);
		g.module = bytes ? dwfl_report_offline_memory(g.dwfl, path, path, (char *)bytes, size)
				 : dwfl_report_offline(g.dwfl, path, path, fd);
		if (g.module)
			fd = -1; /* libdwfl's now */
		dwfl_report_end(g.dwfl, NULL, NULL);
		g.elf = g.module ? dwfl_module_getelf(g.module, &bias) : NULL;
		if (!g.elf)
			err = diag_set(d, -EINVAL, "%s: not an ELF file that can be read: %s", path,
				       dwfl_errmsg(-1));
	}
	if (fd >= 0)
		close(fd);
	if (err)
		debug_file_close(&g);
	else
		*f = g;
	return err;
}

void debug_file_close(struct debug_file *f)
{
	if (f->dwfl)
		dwfl_end(f->dwfl);
	free(f->path);
	*f = (struct debug_file){0};
}

static int open_dwarf(struct debug_file *f, struct diag *d)
{
	Dwarf_Addr bias;

	f->dwarf = dwfl_module_getdwarf(f->module, &bias);
	if (f->dwarf)
		return 0;
	return has_debug_info(f->elf)
		   ? diag_set(d, -EINVAL, "%s: its DWARF is damaged: %s", f->path, dwfl_errmsg(-1))
		   : diag_set(d, -ENOENT, "%s: no debug information: it has no section .debug_info", f->path);
}

/* --- does it belong? --- */

static void id_hex(const uint8_t *id, size_t n, char hex[41])
{
	hex[0] = '\0';
	for (size_t i = 0; i < n && i < 20; i++)
		sprintf(hex + 2 * i, "%02x", id[i]);
}

static int check_fits(const struct debug_file *f, const struct image *img, const struct wanted *w,
		      bool *proven, struct diag *d)
{
	struct wanted have = wanted_of(f->elf);
	char a[41], b[41];
	GElf_Ehdr eh;

	if (!gelf_getehdr(f->elf, &eh) || (gelf_getclass(f->elf) == ELFCLASS64) != (img->width == 64) ||
	    (eh.e_type == ET_REL) != (img->container == IMAGE_MODULE))
		return diag_set(d, -EINVAL, "%s: not the debug file of a %d-bit %s", f->path, img->width,
				img->container == IMAGE_MODULE ? "module" : "kernel");
	*proven = w->id && have.id;
	if (!*proven || (w->id_size == have.id_size && !memcmp(w->id, have.id, w->id_size)))
		return 0;
	id_hex(have.id, have.id_size, a);
	id_hex(w->id, w->id_size, b);
	return diag_set(d, -EINVAL,
			"%s: build ID %s, the image has %s: give the debug file of this very build", f->path,
			a, b);
}

static bool has_crc(const char *path, uint32_t want)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	static const size_t step = 1 << 16;
	uint8_t *buffer = malloc(step);
	uLong crc = crc32(0, NULL, 0);
	ssize_t n = -1;

	while (fd >= 0 && buffer && (n = read(fd, buffer, step)) > 0)
		crc = crc32(crc, buffer, (uInt)n);
	free(buffer);
	if (fd >= 0)
		close(fd);
	return n == 0 && crc == want;
}

/* --- looking for it --- */

struct search {
	struct debug_file *f;
	struct image *img;
	const struct wanted *w;
	const char *root, *where; /* of debug files; the image */
	char *refused;		  /* path, so that it is noted once */
	bool found;
};

/* Take the file at path (malloc'd, released; NULL without memory) if it is there and belongs. */
static void consider(struct search *s, char *path, bool by_crc)
{
	struct diag d = {0};
	struct stat st;
	bool proven = false;
	int err;

	if (s->found || !path || stat(path, &st) || !S_ISREG(st.st_mode) ||
	    (s->refused && !strcmp(s->refused, path))) {
		free(path);
		return;
	}
	err = debug_file_open(s->f, path, NULL, 0, &d);
	if (!err) {
		err = check_fits(s->f, s->img, s->w, &proven, &d);
		if (!err && !proven && !(by_crc && has_crc(path, s->w->crc)))
			err = diag_set(&d, -EINVAL,
				       "%s: nothing proves that it belongs to the image; --debug takes it",
				       path);
		if (!err)
			err = open_dwarf(s->f, &d);
		if (err)
			debug_file_close(s->f);
	}
	s->found = !err;
	if (err) {
		image_note(s->img, "debug information: %s", d.text);
		free(s->refused);
		s->refused = path;
		return;
	}
	free(path);
}

static char *join(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *join(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

static void by_build_id(struct search *s)
{
	char hex[41];

	if (!s->w->id || s->w->id_size > 20)
		return;
	id_hex(s->w->id, s->w->id_size, hex);
	consider(s, join("%s/.build-id/%.2s/%s.debug", s->root, hex, hex + 2), false);
}

static void by_link(struct search *s, const char *dir)
{
	if (!s->w->link)
		return;
	consider(s, join("%s/%s", dir, s->w->link), true);
	consider(s, join("%s/.debug/%s", dir, s->w->link), true);
	consider(s, join("%s%s/%s", s->root, dir, s->w->link), true);
}

/*
 * By its own name, as vmlinux if it is a vmlinuz, without what packed it; at the same path under the root, or at an end of
 * that: /lib is /usr/lib or not, and an image may stand in an unpacked package.
 */
static void by_name(struct search *s, const char *full)
{
	static const char *const packed[] = {".xz", ".gz", ".zst"};
	char *path = strdup(full), *base = path ? strrchr(path, '/') + 1 : NULL;
	size_t n = strlen(full);

	for (size_t i = 0; path && i < sizeof(packed) / sizeof(*packed); i++) {
		size_t m = strlen(packed[i]);

		if (n > m && !strcmp(path + n - m, packed[i]))
			path[n - m] = '\0';
	}
	if (path && !strncmp(base, "vmlinuz", 7))
		base[6] = 'x';
	for (const char *end = path; end && !s->found; end = strchr(end + 1, '/')) {
		consider(s, join("%s%s", s->root, end), false);
		consider(s, join("%s%s.debug", s->root, end), false);
	}
	free(path);
}

static void look_around(struct search *s)
{
	char *full = realpath(s->where, NULL), *dir;

	if (!full) /* a name in an archive */
		full = join("/%s", s->where);
	dir = full ? strndup(full, (size_t)(strrchr(full, '/') - full)) : NULL;
	by_build_id(s);
	if (dir)
		by_link(s, dir);
	if (full)
		by_name(s, full);
	free(dir);
	free(full);
}

static int take_named(struct debug_file *f, const struct wanted *w, struct image *img, const char *path,
		      struct diag *d)
{
	struct diag why = {0};
	bool proven = false;
	int err = debug_file_open(f, path, NULL, 0, d);

	if (!err)
		err = check_fits(f, img, w, &proven, d);
	if (!err && !has_debug_info(f->elf))
		err = open_dwarf(f, d);
	if (!err && !proven)
		image_note(img, "debug information: nothing proves that %s belongs to the image", path);
	if (!err && open_dwarf(f, &why)) {
		image_note(img, "debug information: %s", why.text);
		debug_file_close(f);
	}
	return err;
}

/* The image's own. */
static void take_self(struct debug_file *f, struct image *img)
{
	struct diag d = {0};
	size_t size;
	const uint8_t *bytes = elf_bytes(img, &size);

	if (!debug_file_open(f, img->path, bytes, size, &d) && !open_dwarf(f, &d))
		return;
	debug_file_close(f);
	image_note(img, "debug information: %s", d.text);
}

int debug_file_find(struct debug_file *f, struct image *img, const struct source_options *opt, struct diag *d)
{
	size_t size;
	const uint8_t *bytes = elf_bytes(img, &size);
	Elf *elf = elf_version(EV_CURRENT) != EV_NONE && size ? elf_memory((char *)bytes, size) : NULL;
	struct wanted w = wanted_of(elf);
	struct search s = {.f = f,
			   .img = img,
			   .w = &w,
			   .root = opt->dir ? opt->dir : ROOT,
			   .where = opt->where ? opt->where : img->path};
	int err = 0;

	if (opt->file)
		err = take_named(f, &w, img, opt->file, d);
	else if (w.self)
		take_self(f, img);
	else
		look_around(&s);
	free(s.refused);
	elf_end(elf);
	return err;
}
