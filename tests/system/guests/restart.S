/*
 * A hart stops while the PLIC's interrupt is asserted for it and nobody has claimed it; started
 * again, it must get it. Hart 0 gives hart 1 the clock's alarm. With --irqchip plic.
 */
#define HAS_OTHERS
#include "guest.inc"

#define PLIC	0x0c000000
#define CONTEXT (PLIC + 0x201000) /* hart 1's */
#define RTC	0x40001000
#define SOURCE	2
#define SEIE	0x200
#define PATIENCE 100000

main:
	li	t0, PLIC
	li	t1, 1
	sw	t1, 4 * SOURCE(t0) /* priority */
	li	t2, PLIC + 0x2080
	li	t1, 1 << SOURCE
	sw	t1, 0(t2) /* enabled */
	li	t2, CONTEXT
	sw	zero, 0(t2) /* threshold */

	li	t0, RTC
	lwu	t1, 0(t0)
	lwu	t2, 4(t0)
	slli	t2, t2, 32
	or	t1, t1, t2
	li	t2, 20000000 /* ns */
	add	t1, t1, t2
	srli	t2, t1, 32
	sw	t2, 12(t0)
	sw	t1, 8(t0)
	li	t1, 1
	sw	t1, 16(t0)

	li	s2, 0
1:
	li	a0, 1
	la	a1, hart_start
	mv	a2, s2
	sbi	SBI_HSM, 0
	bnez	a0, wrong
2:
	li	a0, 1
	sbi	SBI_HSM, 2
	li	t0, 1 /* stopped */
	bne	a1, t0, 2b
	addi	s2, s2, 1
	j	1b

main_other:
	li	t0, SEIE
	csrw	sie, t0
	bnez	s1, again
3:
	wfi
	csrr	t0, sip
	andi	t0, t0, SEIE
	beqz	t0, 3b
	sbi	SBI_HSM, 1
	/* Not reached. */
again:
	/* As Linux's driver does on each hart that comes up. */
	li	s2, CONTEXT
	sw	zero, 0(s2)
	li	s3, PATIENCE
4:
	csrr	t0, sip
	andi	t0, t0, SEIE
	bnez	t0, 5f
	addi	s3, s3, -1
	bnez	s3, 4b
	say	"it is forgotten\n"
	j	wrong
5:
	lwu	s4, 4(s2)
	say	"claimed "
	mv	a0, s4
	call	put_hex
	li	t0, RTC
	sw	zero, 28(t0)
	sw	s4, 4(s2)
	csrr	t0, sip
	andi	t0, t0, SEIE
	bnez	t0, wrong
	say	" and done\n"
	li	a0, 0
	j	end
wrong:
	say	"not as it should be\n"
	li	a0, 1
	j	end
