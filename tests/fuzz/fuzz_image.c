/*
 * A kernel file of any bytes: open it and load it into a small guest, mapped and copied. What
 * loads must lie inside RAM below the device tree's slot.
 */
#include "riscv/image.h"
#include "riscv/layout.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <stdio.h>
#include <sys/mman.h>

#define RAM      LAYOUT_RAM_BASE
#define RAM_SIZE (16 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *path, bool copy)
{
	struct guest_mem gm = { 0 };
	struct kernel_image image;
	struct kernel_placement out;
	struct err err;

	if (kernel_image_open(&image, path, &err) != 0)
		return;
	ASSERT(guest_mem_add(&gm, RAM, RAM_SIZE, GUEST_MEM_SMALL_PAGES, &err) == 0);
	if (kernel_image_load(&image, &gm, RAM, RAM_SIZE, copy, &out, &err) == 0) {
		ASSERT(out.entry >= RAM && out.end <= layout_fdt_gpa(RAM, RAM_SIZE));
		ASSERT(out.entry + 64 <= out.end);
	}
	kernel_image_deinit(&image);
	guest_mem_deinit(&gm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write_all(fd, data, size) == 0) {
		load(path, false);
		load(path, true);
	}
	close_fd(&fd);
	return 0;
}
