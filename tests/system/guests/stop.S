/* Its only hart stops itself. */
#include "guest.inc"

main:
	say	"going\n"
	sbi	SBI_HSM, 1
	say	"not stopped\n"
	li	a0, 0
	j	end
