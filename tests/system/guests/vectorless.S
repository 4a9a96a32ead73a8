/* Traps with a trap vector that is not there, as a kernel that crashes before it has one. */
#include "guest.inc"

main:
	say	"going\n"
	csrw	stvec, zero
	ebreak
