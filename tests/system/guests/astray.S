/* Starts a second hart where nothing is. */
#include "guest.inc"

main:
	say	"going\n"
	li	a0, 1
	li	a1, 0x60000000
	li	a2, 0
	sbi	SBI_HSM, 0
	bnez	a0, refused
1:
	j	1b
refused:
	li	a0, 0
	j	end
