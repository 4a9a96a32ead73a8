/*
 * Prints ROUNDS lines of 64 bytes as fast as it can, each with its number, then a last line.
 */
#include "guest.inc"

#define ROUNDS 16384

main:
	li	s2, 0
1:
	/* The number in hexadecimal, of a fixed width */
	la	t0, line
	li	t1, 28
2:
	srl	t2, s2, t1
	andi	t2, t2, 15
	addi	t3, t2, '0'
	li	t4, 10
	blt	t2, t4, 3f
	addi	t3, t2, 'a' - 10
3:
	sb	t3, 0(t0)
	addi	t0, t0, 1
	addi	t1, t1, -4
	bgez	t1, 2b
	la	a0, line
	li	a1, 64
	call	put
	addi	s2, s2, 1
	li	t0, ROUNDS
	blt	s2, t0, 1b
	say	"end of flood\n"
	li	a0, 0
	j	end

	.data
line:
	.ascii	"00000000 abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01\n"
	.text
