/* Sets the clock's alarm a little ahead and waits for its interrupt, with a PLIC (--irqchip plic). */
#include "guest.inc"

#define PLIC	0x0c000000
#define RTC	0x40001000
#define SOURCE	2
#define SEIE	0x200

main:
	li	t0, PLIC
	li	t1, 1
	sw	t1, 4 * SOURCE(t0) /* priority */
	li	t2, PLIC + 0x2000
	li	t1, 1 << SOURCE
	sw	t1, 0(t2) /* enabled */
	li	s2, PLIC + 0x200000
	sw	zero, 0(s2) /* threshold */
	li	t1, SEIE
	csrw	sie, t1

	li	s3, RTC
	lwu	t1, 0(s3)
	lwu	t2, 4(s3)
	slli	t2, t2, 32
	or	t1, t1, t2
	li	t2, 50000000 /* ns */
	add	s4, t1, t2
	srli	t2, s4, 32
	sw	t2, 12(s3)
	sw	s4, 8(s3)
	li	t1, 1
	sw	t1, 16(s3)
1:
	wfi
	csrr	t0, sip
	andi	t0, t0, SEIE
	beqz	t0, 1b

	lwu	t1, 0(s3)
	lwu	t2, 4(s3)
	slli	t2, t2, 32
	or	t1, t1, t2
	bltu	t1, s4, early
	lwu	s5, 4(s2)
	say	"claimed "
	mv	a0, s5
	call	put_hex
	sw	t1, 28(s3)
	sw	s5, 4(s2)
	csrr	t0, sip
	andi	t0, t0, SEIE
	bnez	t0, early
	say	" and done\n"
	li	a0, 0
	j	end
early:
	say	"not as it should be\n"
	li	a0, 1
	j	end
