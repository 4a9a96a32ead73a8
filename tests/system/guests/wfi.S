/*
 * A storm of waits: every hart sets its timer a little ahead and waits, and wakes the next hart by
 * an IPI each time. When all have done so ROUNDS times, hart 0 shuts down.
 */
#define HAS_OTHERS
#include "guest.inc"

#define ROUNDS	100
#define AHEAD	20000 /* 2 ms: long enough to be asleep by then */
#define STIMECMP 0x14d
#define SSIP	0x2
#define STIP	0x20

main:
	call	look_for_sstc
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

/*
 * The timer is set by its register where the hart has one (Sstc), as Linux does, and by the SBI
 * elsewhere. Where both are there, the SBI's is not to be trusted: KVM of Linux 6.12 writes what is
 * asked for into the hart's register, and when the vCPU is preempted before it runs again, puts back
 * what it had saved there before. The hart would sleep for ever, and no monitor sees it.
 */
storm:
	mv	s11, ra
	li	t0, STIP | SSIP
	csrw	sie, t0
	li	s3, ROUNDS
4:
	rdtime	a0
	li	t0, AHEAD
	add	a0, a0, t0
	call	set_timer
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
	call	set_timer
	la	t0, done
	li	t1, 1
	amoadd.d zero, t1, (t0)
	jr	s11

set_timer:
	lb	t0, has_sstc
	bnez	t0, 7f
	sbi	SBI_TIME, 0
	ret
7:
	csrw	STIMECMP, a0
	ret

/* Does the device tree, at s1, name the extension? */
look_for_sstc:
	lwu	t0, 4(s1) /* its size, big-endian */
	srli	t1, t0, 24
	srli	t0, t0, 8
	andi	t2, t0, 0xff
	slli	t2, t2, 8
	or	t1, t1, t2
	srli	t0, t0, 8
	andi	t2, t0, 0xff
	slli	t2, t2, 16
	or	t1, t1, t2
	add	t1, t1, s1
	li	t2, 0x63747373 /* "sstc" */
	li	t3, 0
8:
	/* The last four bytes that went by. */
	lbu	t0, 0(s1)
	slli	t0, t0, 24
	srliw	t3, t3, 8
	or	t3, t3, t0
	addi	s1, s1, 1
	beq	t3, t2, 9f
	bltu	s1, t1, 8b
	ret
9:
	li	t0, 1
	la	t1, has_sstc
	sb	t0, 0(t1)
	ret

	.data
has_sstc:
	.byte	0
	.balign	8
done:
	.dword	0
	.text
