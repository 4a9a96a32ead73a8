/* Gives every byte of its input back, until it is told to do something else. */
#include "guest.inc"

main:
	say	"ready\n"
1:
	call	take
	li	t0, 4 /* Ctrl-d */
	beq	a0, t0, 2f
	li	t0, 18 /* Ctrl-r */
	beq	a0, t0, 3f
	call	put_byte
	j	1b
2:
	say	"bye\n"
	li	a0, 0
	j	end
3:
	say	"again\n"
	li	a0, 1
	j	end
