/* A storm of accesses to CSRs of the hypervisor: each is an exception of the guest's own, and no more. */
#include "guest.inc"

#define ROUNDS 1000

main:
	la	t0, skip
	csrw	stvec, t0
	li	s2, 0
	li	s3, ROUNDS
1:
	csrr	t0, 0x600 /* hstatus */
	csrr	t0, 0x680 /* hgatp */
	csrr	t0, 0x200 /* vsstatus */
	csrw	0x602, t0 /* hedeleg */
	addi	s3, s3, -1
	bnez	s3, 1b
	say	"traps: "
	mv	a0, s2
	call	put_hex
	say	"\n"
	li	a0, 0
	j	end

	.balign	4
skip:
	csrr	t1, sepc
	addi	t1, t1, 4
	csrw	sepc, t1
	addi	s2, s2, 1
	sret
