/*
 * A storm of waits: every hart sets its timer a little ahead and waits, and wakes the next hart by
 * an IPI each time. When all have done so ROUNDS times, hart 0 shuts down.
 */
#define HAS_OTHERS
#include "guest.inc"

#define ROUNDS	100
/*
 * 2 ms: long enough to be asleep by then. A timer that expires on the way to sleep (30 us ahead) was
 * lost by the host's KVM once in some thousand times, and the hart slept for ever: nothing that a
 * monitor could see or mend.
 */
#define AHEAD	20000
#define SSIP	0x2
#define STIP	0x20

main:
	li	s2, 1
1:
	mv	a0, s2
	la	a1, hart_start
	li	a2, 0
	sbi	SBI_HSM, 0
	addi	s2, s2, 1
	beqz	a0, 1b
	addi	s6, s2, -1 /* harts */
	say	"harts: "
	mv	a0, s6
	call	put_hex
	say	"\n"
	call	storm
	/* Wait for the slower ones. */
2:
	la	t0, done
	ld	t1, 0(t0)
	blt	t1, s6, 2b
	say	"all woke up\n"
	li	a0, 0
	j	end

main_other:
	call	storm
3:
	wfi
	csrci	sip, SSIP
	j	3b

storm:
	mv	s11, ra
	li	t0, STIP | SSIP
	csrw	sie, t0
	li	s3, ROUNDS
4:
	rdtime	a0
	li	t0, AHEAD
	add	a0, a0, t0
	sbi	SBI_TIME, 0
	li	a0, 2
	sll	a0, a0, s0
	li	a1, 0
	sbi	SBI_IPI, 0 /* the last hart has no next: an error that costs nothing */
5:
	wfi
	csrci	sip, SSIP
	csrr	t0, sip
	andi	t0, t0, STIP
	beqz	t0, 5b
	addi	s3, s3, -1
	bnez	s3, 4b
	li	a0, -1
	sbi	SBI_TIME, 0
	la	t0, done
	li	t1, 1
	amoadd.d zero, t1, (t0)
	jr	s11

	.data
	.balign	8
done:
	.dword	0
	.text
