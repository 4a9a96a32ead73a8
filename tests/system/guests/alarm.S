/* Sets the clock's alarm a little ahead and waits for its interrupt, with a PLIC (--irqchip plic). */
#include "guest.inc"

#define PLIC	0x0c000000
#define SOURCE	2
#define SEIE	0x200

	.macro	claim
	lwu	s5, 4(s2)
	.endm

	.macro	complete
	sw	s5, 4(s2)
	.endm

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

#include "alarm.inc"
