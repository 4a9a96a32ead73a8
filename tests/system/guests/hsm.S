/*
 * Hart 0 starts all others, waits until each has stopped itself, and does so again: 50 times. Then
 * one of the others ends the machine while hart 0 spins.
 */
#define HAS_OTHERS
#include "guest.inc"

#define ROUNDS 50

	/* Start hart s2; in s3 comes how often one was refused. */
main:
	li	s4, 0 /* rounds */
round:
	li	s2, 1
1:
	mv	a0, s2
	la	a1, hart_start
	mv	a2, s4
	sbi	SBI_HSM, 0
	bnez	a0, no_more
	addi	s2, s2, 1
	j	1b
no_more:
	mv	s3, a0
	li	t0, 1
	beq	s2, t0, refused
	/* Wait for those that were started. */
	addi	s5, s2, -1
2:
	mv	a0, s5
	sbi	SBI_HSM, 2
	li	t0, 1 /* stopped */
	bne	a1, t0, 2b
	addi	s5, s5, -1
	bnez	s5, 2b
	addi	s4, s4, 1
	li	t0, ROUNDS
	blt	s4, t0, round

	say	"others: "
	addi	a0, s2, -1
	call	put_hex
	say	" starts: "
	la	t0, starts
	ld	a0, 0(t0)
	call	put_hex
	say	" then: "
	mv	a0, s3
	call	put_signed
	say	"\n"
	li	a0, 1
	la	a1, hart_start
	li	a2, -1
	sbi	SBI_HSM, 0
3:
	j	3b
refused:
	say	"refused: "
	mv	a0, s3
	call	put_signed
	say	"\n"
	li	a0, 0
	j	end

main_other:
	bltz	s1, 4f
	la	t0, starts
	li	t1, 1
	amoadd.d zero, t1, (t0)
	sbi	SBI_HSM, 1
	/* Not reached. */
4:
	say	"the other hart ends it\n"
	li	a0, 0
	j	end

	.data
	.balign	8
starts:
	.dword	0
	.text
