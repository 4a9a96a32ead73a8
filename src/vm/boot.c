#include "vm/boot.h"

#include "config/config.h"
#include "riscv/layout.h"
#include "util/bits.h"
#include "vm/resources.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define HUGE_PAGE   (2 * MIB)
#define SPARSE_SIZE (4 * MIB)

/* Memory is not reserved, so nothing else would stop a guest larger than its host. */
static int check_fits_host(uint64_t mem_bytes, struct err *err)
{
	long n_pages = sysconf(_SC_PHYS_PAGES);
	uint64_t host_bytes = (uint64_t)n_pages * (uint64_t)sysconf(_SC_PAGESIZE);

	if (n_pages <= 0 || mem_bytes <= host_bytes)
		return 0;
	return err_set(err, -EINVAL, "memory: %llu MiB is more than this host has (%llu MiB)",
		       (unsigned long long)(mem_bytes / MIB),
		       (unsigned long long)(host_bytes / MIB));
}

/* A file's pages in the midst of huge ones would split them. */
static bool must_copy(const struct vm_config *config)
{
	return config->copy_kernel || config->pages != CONFIG_PAGES_SMALL;
}

static int add_ram(struct guest_mem *mem, const struct vm_config *config, struct err *err)
{
	bool is_reserved = config->pages == CONFIG_PAGES_2M;
	int ret = check_fits_host(config->mem_bytes, err);

	if (ret == 0)
		ret = guest_mem_add(mem, LAYOUT_RAM_BASE, config->mem_bytes,
				    is_reserved ? GUEST_MEM_HUGE_PAGES : GUEST_MEM_SMALL_PAGES,
				    err);
	/* Before the first page of it is touched. */
	if (ret == 0 && config->pages == CONFIG_PAGES_TRANSPARENT)
		guest_mem_allow_huge(mem, LAYOUT_RAM_BASE, config->mem_bytes, true);
	return ret;
}

static int load_files(struct boot *boot, struct guest_mem *mem, const struct vm_config *config,
		      struct err *err)
{
	bool copy = must_copy(config);
	int ret = kernel_image_load(&boot->image, mem, LAYOUT_RAM_BASE, config->mem_bytes, copy,
				    &boot->kernel, err);

	boot->fdt_gpa = layout_fdt_gpa(LAYOUT_RAM_BASE, config->mem_bytes);
	if (ret == 0 && config->initrd_path != NULL)
		ret = initrd_load(&boot->initrd, mem, boot->kernel.end, boot->fdt_gpa, copy, err);
	return ret;
}

/*
 * Transparent huge pages save the work of 512 faults where the guest will use all of one, and cost
 * 2 MiB for each page that it touches where not. For a small guest at rest that is known:
 *
 * - A kernel hands out the memory right behind its image first: the first 2 MiB are soon used, the
 *   next SPARSE_SIZE only in part. A guest that comes further will go on.
 * - Linux describes all of its memory, 64 bytes for each 4 KiB, in the highest free piece that is
 *   large enough: that one ends below initramfs and device tree, which lie at 2 MiB boundaries for
 *   this (see layout.h). Around these two there is little.
 *
 * Elsewhere the host's own setting holds.
 */
static void choose_pages(const struct boot *boot, const struct guest_mem *mem, uint64_t mem_bytes)
{
	uint64_t behind_kernel = align_up(boot->kernel.end, HUGE_PAGE);
	uint64_t top = boot->initrd.start != 0 ? boot->initrd.start : boot->fdt_gpa;
	uint64_t end = layout_low_ram_end(LAYOUT_RAM_BASE, mem_bytes);
	uint64_t memmap = align_down(mem_bytes / 64, HUGE_PAGE);

	guest_mem_allow_huge(mem, behind_kernel, HUGE_PAGE, true);
	guest_mem_allow_huge(mem, behind_kernel + HUGE_PAGE, SPARSE_SIZE, false);
	guest_mem_allow_huge(mem, top - memmap, memmap, true);
	guest_mem_allow_huge(mem, top, end - top, false);
}

int boot_load(struct boot *boot, struct guest_mem *mem, const struct vm_config *config,
	      struct vm_resources *resources, struct err *err)
{
	int ret = add_ram(mem, config, err);

	if (ret == 0)
		ret = vm_resources_take_kernel(resources, config, &boot->image, &boot->initrd, err);
	if (ret == 0)
		ret = load_files(boot, mem, config, err);
	if (ret == 0 && config->pages == CONFIG_PAGES_SMALL)
		choose_pages(boot, mem, config->mem_bytes);
	return ret;
}

static int write_fdt(const struct boot *boot, const struct guest_mem *mem,
		     const struct fdt_machine *machine, void *tree, struct err *err)
{
	size_t used;
	int ret = fdt_build(machine, tree, LAYOUT_FDT_SIZE, &used, err);

	if (ret == 0 && guest_mem_write(mem, boot->fdt_gpa, tree, used) != 0)
		ret = err_set(err, -EFAULT, "the device tree does not fit into guest memory");
	return ret;
}

int boot_write_fdt(const struct boot *boot, const struct guest_mem *mem,
		   const struct vm_config *config, struct fdt_machine *machine, struct err *err)
{
	void *tree;
	int ret;

	machine->ram_gpa = LAYOUT_RAM_BASE;
	machine->ram_size = config->mem_bytes;
	machine->bootargs = config->cmdline;
	machine->initrd_start = boot->initrd.start;
	machine->initrd_end = boot->initrd.end;
	if (getrandom(machine->rng_seed, sizeof(machine->rng_seed), 0) !=
	    (ssize_t)sizeof(machine->rng_seed))
		return err_sys(err, "get random bytes for the guest");
	/* No KASLR seed: relocating writes to every page of the kernel, which then is not shared.
	 */

	/* Not in place: libfdt writes from both ends of the buffer before it packs the tree. */
	tree = malloc(LAYOUT_FDT_SIZE);
	if (tree == NULL)
		return err_set(err, -ENOMEM, "no memory for the device tree");
	ret = write_fdt(boot, mem, machine, tree, err);
	free(tree);
	return ret;
}

const char *boot_cut_file(const struct boot *boot)
{
	if (boot->kernel.mapped && image_file_was_cut(&boot->image.file))
		return "kernel";
	if (boot->initrd.mapped && image_file_was_cut(&boot->initrd.file))
		return "initramfs";
	return NULL;
}

void boot_deinit(struct boot *boot)
{
	kernel_image_deinit(&boot->image);
	initrd_deinit(&boot->initrd);
}
