/* Jumps to an address where there is nothing, with registers that can be told again. */
#include "guest.inc"

main:
	say	"going\n"
	li	t0, 0x8000000000000005
	csrw	scause, t0
	li	t0, 0x1234
	csrw	stval, t0
	li	ra, 0x5678
	li	sp, 0x80abc000
	li	t0, 0x60000000
	jr	t0
