/*
 * Touches, as it is told by a key, what came from a file: the kernel's last pages or the initramfs,
 * itself or through the monitor. tests/system makes the file longer than this and cuts it short.
 */
#include "guest.inc"

#define FAR	0x80600000 /* 4 MiB behind the beginning of the kernel */
#define INITRD	0x8f800000 /* within an initramfs of 8 MiB under 256 MiB of RAM */

main:
	say	"ready\n"
1:
	call	take
	li	t0, 'k'
	beq	a0, t0, kernel
	li	t0, 'i'
	beq	a0, t0, initrd
	li	t0, 'm'
	beq	a0, t0, monitor
	j	1b
kernel:
	li	t0, FAR
	ld	t1, 0(t0)
	j	survived
initrd:
	li	t0, INITRD
	ld	t1, 0(t0)
	j	survived
monitor:
	li	a0, 16
	li	a1, FAR
	li	a2, 0
	sbi	SBI_DBCN, 0
survived:
	say	"survived\n"
	li	a0, 0
	j	end
