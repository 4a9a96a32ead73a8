#include "riscv/image.h"

#include "riscv/gunzip.h"
#include "riscv/layout.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* How much of the beginning of a file is looked at: more than any header or PE section table. */
enum { HEAD_SIZE = 4096 };

/* How much of the end of a kernel's file is taken to be data; the small kernel of guest/ has so
 * much. */
#define DATA_SIZE (344 * KIB)

/* The header of an Image: Documentation/arch/riscv/boot-image-header.rst in Linux. */
enum {
	IMAGE_TEXT_OFFSET = 8,
	IMAGE_SIZE = 16,
	IMAGE_FLAGS = 24,
	IMAGE_MAGIC2 = 56,
	IMAGE_PE_OFFSET = 60,
	IMAGE_HEADER_SIZE = 64,
};

#define IMAGE_MAGIC2_VALUE     UINT64_C(0x05435352) /* "RSC\x05" */
#define IMAGE_FLAG_BIG_ENDIAN  BIT(0)
#define IMAGE_TEXT_OFFSET_UNIT (2 * MIB) /* RV64 maps itself by megapages */

/* The PE/COFF header and its section table, as far as they tell how long the file must be. */
enum {
	PE_N_SECTIONS = 6,
	PE_OPTIONAL_SIZE = 20,
	PE_HEADER_SIZE = 24,
	PE_SECTION_RAW_SIZE = 16,
	PE_SECTION_RAW_OFFSET = 20,
	PE_SECTION_SIZE = 40,
};

/* ---- the file ---- */

/* \param what it is, for sentences */
static int open_file(struct image_file *file, const char *what, const char *path, struct err *err)
{
	file->path = strdup(path);
	if (file->path == NULL)
		return err_set(err, -ENOMEM, "open %s '%s': out of memory", what, path);
	file->fd = open_regular(path, &file->size, err);
	if (file->fd >= 0)
		return 0;
	err_prefix(err, "%s", what);
	return file->fd;
}

bool image_file_was_cut(const struct image_file *file)
{
	struct stat st;

	return file->path != NULL && fstat(file->fd, &st) == 0 && (uint64_t)st.st_size < file->size;
}

static void close_file(struct image_file *file)
{
	/* A zeroed object has descriptor 0, which is not its own. */
	if (file->path != NULL)
		close_fd(&file->fd);
	free(file->path);
}

/* ---- a kernel ---- */

/* The beginning of a kernel, out of gzip if it was in it. */
struct head {
	uint8_t bytes[HEAD_SIZE];
	size_t len;
};

static int gunzip_error(const struct kernel_image *image, int code, struct err *err)
{
	switch (code) {
	case -ENODATA:
		return err_set(err, -ENOEXEC,
			       "kernel '%s' is cut short: its gzip stream does not end",
			       image->file.path);
	case -EBADMSG:
		return err_set(err, -ENOEXEC,
			       "kernel '%s' is damaged: its gzip stream is not valid",
			       image->file.path);
	default:
		errno = -code;
		return err_sys(err, "unpack kernel '%s'", image->file.path);
	}
}

/* ---- recognising ---- */

/* For sentences: what the words that follow are about. */
static const char *unpacked(const struct kernel_image *image)
{
	return image->gzip ? ", unpacked," : "";
}

static bool head_has(const struct head *head, size_t offset, const void *magic, size_t len)
{
	return head->len >= offset + len && memcmp(head->bytes + offset, magic, len) == 0;
}

/* What people give for a kernel. The first that fits is said, so the more special stand first. */
static const char *describe(const struct head *head)
{
	static const struct {
		unsigned int offset;
		unsigned int len;
		const char *magic;
		const char *what;
	} kinds[] = {
		{ 0, 4, "\177ELF",
		  "is an ELF file: use arch/riscv/boot/Image of the same build, not vmlinux" },
		{ 4, 4, "zimg",
		  "is compressed for EFI (zboot): use arch/riscv/boot/Image of the same build" },
		{ 0x202, 4, "HdrS", "is a kernel for x86 (bzImage)" },
		{ 56, 4, "ARM\x64", "is a kernel for arm64" },
		{ 0, 2, "\x1f\x8b", "is compressed with gzip twice: unpack it once" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first" },
		{ 0, 6,
		  "\xfd"
		  "7zXZ\0",
		  "is compressed with xz: unpack it first" },
		{ 0, 4, "\x04\x22\x4d\x18", "is compressed with lz4: unpack it first" },
		{ 0, 4, "\x02\x21\x4c\x18", "is compressed with lz4: unpack it first" },
		{ 0, 3, "BZh", "is compressed with bzip2: unpack it first" },
		{ 0, 3, "\x5d\0\0", "is compressed with lzma: unpack it first" },
		{ 0, 4, "\x89LZO", "is compressed with lzop: unpack it first" },
		{ 0, 4, "\x27\x05\x19\x56", "is a U-Boot image: use the Image inside it" },
		{ 0, 4, "\xd0\x0d\xfe\xed",
		  "is a device tree or FIT image: use the Image inside it" },
		{ 0, 5, "07070", "is a cpio archive, perhaps the initramfs" },
		{ 0, 2, "MZ", "is an EFI program, but not a RISC-V kernel" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (head_has(head, kinds[i].offset, kinds[i].magic, kinds[i].len))
			return kinds[i].what;
	}
	return "is not a RISC-V kernel: it has no Image header";
}

/*
 * Of an Image that is a PE program too, the section table tells where the last byte is. Sizes and
 * offsets are 32 bits wide there, so nothing here can wrap.
 * \return 0, or -EINVAL if the table is not all in the file's head
 */
static int find_pe_end(const struct head *head, uint64_t *end)
{
	uint64_t pe = load_le(head->bytes + IMAGE_PE_OFFSET, 4);
	uint64_t table;
	uint64_t n;

	if (pe + PE_HEADER_SIZE > head->len || memcmp(head->bytes + pe, "PE\0", 4) != 0)
		return -EINVAL;
	n = load_le(head->bytes + pe + PE_N_SECTIONS, 2);
	table = pe + PE_HEADER_SIZE + load_le(head->bytes + pe + PE_OPTIONAL_SIZE, 2);
	if (table + n * PE_SECTION_SIZE > head->len)
		return -EINVAL;
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *section = head->bytes + table + i * PE_SECTION_SIZE;
		uint64_t raw_end = load_le(section + PE_SECTION_RAW_OFFSET, 4) +
				   load_le(section + PE_SECTION_RAW_SIZE, 4);

		*end = MAX(*end, raw_end);
	}
	return 0;
}

static int check_header(const struct kernel_image *image, const struct head *head, struct err *err)
{
	if ((load_le(head->bytes + IMAGE_FLAGS, 8) & IMAGE_FLAG_BIG_ENDIAN) != 0)
		return err_set(err, -ENOEXEC, "kernel '%s'%s is big-endian", image->file.path,
			       unpacked(image));
	if (!is_aligned(image->text_offset, IMAGE_TEXT_OFFSET_UNIT))
		return err_set(err, -ENOEXEC,
			       "kernel '%s'%s wants to lie at 0x%llx, not a multiple of 2 MiB",
			       image->file.path, unpacked(image),
			       (unsigned long long)image->text_offset);
	if (image->image_size == 0)
		return err_set(err, -ENOEXEC, "kernel '%s'%s does not tell its size in memory",
			       image->file.path, unpacked(image));
	return 0;
}

static int read_header(struct kernel_image *image, const struct head *head, struct err *err)
{
	if (head->len < IMAGE_HEADER_SIZE)
		return err_set(err, -ENOEXEC, "kernel '%s'%s is too short for a kernel: %zu bytes",
			       image->file.path, unpacked(image), head->len);
	if (load_le(head->bytes + IMAGE_MAGIC2, 4) != IMAGE_MAGIC2_VALUE)
		return err_set(err, -ENOEXEC, "kernel '%s'%s %s", image->file.path, unpacked(image),
			       describe(head));
	image->text_offset = load_le(head->bytes + IMAGE_TEXT_OFFSET, 8);
	image->image_size = load_le(head->bytes + IMAGE_SIZE, 8);
	image->min_size = IMAGE_HEADER_SIZE;
	if (head_has(head, 0, "MZ", 2) && find_pe_end(head, &image->min_size) != 0)
		return err_set(err, -ENOEXEC,
			       "kernel '%s'%s is cut short or damaged: "
			       "its PE section table is not where it should be",
			       image->file.path, unpacked(image));
	return check_header(image, head, err);
}

/* Of a raw file at once, of a gzip file when all is out: `size` is that of the Image. */
static int check_size(const struct kernel_image *image, uint64_t size, struct err *err)
{
	if (size < image->min_size)
		return err_set(err, -ENOEXEC, "kernel '%s'%s is cut short: %llu of %llu bytes",
			       image->file.path, unpacked(image), (unsigned long long)size,
			       (unsigned long long)image->min_size);
	if (size > image->image_size)
		return err_set(err, -ENOEXEC,
			       "kernel '%s'%s has more bytes than the %llu its header tells",
			       image->file.path, unpacked(image),
			       (unsigned long long)image->image_size);
	return 0;
}

static int read_gzip_head(const struct kernel_image *image, struct head *head, struct err *err)
{
	struct gunzip gz;
	uint64_t got = 0;
	int ret = gunzip_init(&gz, image->file.fd);

	if (ret == 0) {
		ret = gunzip_read(&gz, head->bytes, sizeof(head->bytes), &got);
		gunzip_deinit(&gz);
	}
	head->len = (size_t)got;
	return ret == 0 ? 0 : gunzip_error(image, ret, err);
}

static int read_head(struct kernel_image *image, struct head *head, struct err *err)
{
	ssize_t n = pread_all(image->file.fd, head->bytes, sizeof(head->bytes), 0);

	if (n < 0) {
		errno = (int)-n;
		return err_sys(err, "read kernel '%s'", image->file.path);
	}
	if (n == 0)
		return err_set(err, -ENOEXEC, "kernel '%s' is empty", image->file.path);
	head->len = (size_t)n;
	image->gzip = head_has(head, 0, "\x1f\x8b", 2);
	return image->gzip ? read_gzip_head(image, head, err) : 0;
}

static int recognise(struct kernel_image *image, struct err *err)
{
	struct head head = { .len = 0 };
	int ret = read_head(image, &head, err);

	if (ret == 0)
		ret = read_header(image, &head, err);
	if (ret == 0 && !image->gzip)
		ret = check_size(image, image->file.size, err);
	return ret;
}

int kernel_image_open(struct kernel_image *image, const char *path, struct err *err)
{
	int ret;

	*image = (struct kernel_image){ .file.fd = -1 };
	ret = open_file(&image->file, "kernel", path, err);
	if (ret == 0)
		ret = recognise(image, err);
	if (ret != 0)
		kernel_image_deinit(image);
	return ret;
}

/* ---- loading ---- */

/* Put a file where it shall be, as it is. \return 0, or -errno with a sentence without its name */
static int place_file(struct guest_mem *gm, uint64_t gpa, const struct image_file *file, bool copy,
		      struct err *err)
{
	void *to = guest_mem_ptr(gm, gpa, file->size);
	ssize_t n;

	if (!copy) {
		if (image_file_was_cut(file))
			return err_set(err, -EIO, "the file was cut short meanwhile");
		return guest_mem_map_file(gm, gpa, file->fd, file->size, err);
	}
	if (to == NULL)
		return err_set(err, -EINVAL, "no guest memory at 0x%llx", (unsigned long long)gpa);
	n = pread_all(file->fd, to, file->size, 0);
	if (n < 0) {
		errno = (int)-n;
		return err_sys(err, "read");
	}
	if ((uint64_t)n < file->size)
		return err_set(err, -EIO, "the file was cut short meanwhile");
	return 0;
}

static int inflate_image(const struct kernel_image *image, struct gunzip *gz, uint8_t *to,
			 struct err *err)
{
	uint64_t size = 0;
	uint64_t more = 0;
	uint8_t byte;
	int ret = gunzip_read(gz, to, image->image_size, &size);

	/* One byte more is one too many, and where there is none the trailer gets read. */
	if (ret == 0)
		ret = gunzip_read(gz, &byte, 1, &more);
	if (ret != 0)
		return gunzip_error(image, ret, err);
	ret = check_size(image, size + more, err);
	if (ret != 0)
		return ret;
	ret = gunzip_has_more(gz);
	if (ret < 0)
		return gunzip_error(image, ret, err);
	if (ret > 0)
		return err_set(err, -ENOEXEC, "kernel '%s' has other data after its gzip stream",
			       image->file.path);
	return 0;
}

static int place_gzip(const struct kernel_image *image, struct guest_mem *gm, uint64_t gpa,
		      struct err *err)
{
	uint8_t *to = guest_mem_ptr(gm, gpa, image->image_size);
	struct gunzip gz;
	int ret;

	if (to == NULL)
		return err_set(err, -EINVAL, "kernel '%s': no guest memory at 0x%llx",
			       image->file.path, (unsigned long long)gpa);
	ret = gunzip_init(&gz, image->file.fd);
	if (ret != 0)
		return gunzip_error(image, ret, err);
	ret = inflate_image(image, &gz, to, err);
	gunzip_deinit(&gz);
	return ret;
}

static int too_large(const struct kernel_image *image, uint64_t room, struct err *err)
{
	/* Any number of bytes may stand in the header: keep the sum below 2^64. */
	uint64_t offset = MIN(image->text_offset, BIT(61));
	uint64_t need = offset + MIN(image->image_size, BIT(61)) + 2 * MIB; /* the FDT's */

	return err_set(err, -ENOSPC, "kernel '%s' needs %llu MiB of memory, the guest has %llu MiB",
		       image->file.path, (unsigned long long)((need + MIB - 1) / MIB),
		       (unsigned long long)(room / MIB));
}

/*
 * A kernel's data lies at the end of its file. Mapped, a page of it is faulted in twice, to be read
 * and to be written; most are written during boot, so all are made the guest's own at once.
 */
static void populate_data(const struct kernel_image *image, const struct guest_mem *gm,
			  uint64_t gpa)
{
	uint64_t end = align_up(gpa + image->file.size, LAYOUT_PAGE_SIZE);
	uint64_t len = align_up(MIN(DATA_SIZE, image->file.size / 8), LAYOUT_PAGE_SIZE);

	guest_mem_populate(gm, end - len, len);
}

int kernel_image_load(const struct kernel_image *image, struct guest_mem *gm, uint64_t ram_gpa,
		      uint64_t ram_size, bool copy, struct kernel_placement *out, struct err *err)
{
	uint64_t room = layout_low_ram_end(ram_gpa, ram_size) - ram_gpa;
	uint64_t start;
	uint64_t end;
	int ret;

	if (__builtin_add_overflow(ram_gpa, image->text_offset, &start) ||
	    __builtin_add_overflow(start, image->image_size, &end) ||
	    end > layout_fdt_gpa(ram_gpa, ram_size))
		return too_large(image, room, err);
	if (image->gzip) {
		ret = place_gzip(image, gm, start, err);
	} else {
		ret = place_file(gm, start, &image->file, copy, err);
		if (ret != 0)
			err_prefix(err, "kernel '%s'", image->file.path);
	}
	if (ret != 0)
		return ret;
	if (!image->gzip && !copy)
		populate_data(image, gm, start);
	*out = (struct kernel_placement){
		.entry = start,
		.end = align_up(end, LAYOUT_PAGE_SIZE),
		.mapped = !image->gzip && !copy,
	};
	return 0;
}

void kernel_image_deinit(struct kernel_image *image)
{
	close_file(&image->file);
	*image = (struct kernel_image){ .file.fd = -1 };
}

/* ---- initramfs ---- */

int initrd_open(struct initrd *initrd, const char *path, struct err *err)
{
	int ret;

	*initrd = (struct initrd){ .file.fd = -1 };
	ret = open_file(&initrd->file, "initramfs", path, err);
	if (ret == 0 && initrd->file.size == 0)
		ret = err_set(err, -EINVAL, "initramfs '%s' is empty", path);
	if (ret != 0)
		initrd_deinit(initrd);
	return ret;
}

static int find_room(struct initrd *initrd, uint64_t low_gpa, uint64_t high_gpa, struct err *err)
{
	uint64_t low = align_up(low_gpa, LAYOUT_PAGE_SIZE);
	uint64_t high = align_down(high_gpa, LAYOUT_PAGE_SIZE);
	uint64_t room = high > low ? high - low : 0;
	uint64_t size = initrd->file.size;

	if (size > room)
		return err_set(err, -ENOSPC,
			       "initramfs '%s' does not fit: it needs %llu MiB above the kernel, "
			       "%llu MiB are free",
			       initrd->file.path, (unsigned long long)(align_up(size, MIB) / MIB),
			       (unsigned long long)(room / MIB));
	/* At a huge page's boundary where there is room for that: see layout.h. */
	initrd->start = align_down(high - size, 2 * MIB);
	if (initrd->start < low)
		initrd->start = align_down(high - size, LAYOUT_PAGE_SIZE);
	initrd->end = initrd->start + size;
	return 0;
}

int initrd_load(struct initrd *initrd, struct guest_mem *gm, uint64_t low_gpa, uint64_t high_gpa,
		bool copy, struct err *err)
{
	int ret = find_room(initrd, low_gpa, high_gpa, err);

	if (ret != 0)
		return ret;
	ret = place_file(gm, initrd->start, &initrd->file, copy, err);
	if (ret != 0) {
		initrd->start = 0;
		err_prefix(err, "initramfs '%s'", initrd->file.path);
		return ret;
	}
	initrd->mapped = !copy;
	return 0;
}

void initrd_deinit(struct initrd *initrd)
{
	close_file(&initrd->file);
	*initrd = (struct initrd){ .file.fd = -1 };
}
