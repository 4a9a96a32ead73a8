/* Says that it is up as Firecracker's guests do: the byte 123 to the boot timer. Twice. */
#include "guest.inc"

#define BOOT_TIMER	0x40000000

main:
	li	t0, BOOT_TIMER
	li	t1, 123
	sb	t1, 0(t0)
	sb	t1, 0(t0)
	say	"written\n"
	li	a0, 0
	j	end
