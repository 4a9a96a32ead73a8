/* Sets the clock's alarm a little ahead and waits for its interrupt, with the AIA (--irqchip aia). */
#include "guest.inc"

#define APLIC	   0x0d000000
#define DOMAINCFG  0
#define SETIENUM   0x1edc
#define TARGET	   0x3000
#define SOURCE	   2
#define IDENTITY   5
#define SEIE	   0x200

/* The hart's IMSIC. */
#define SISELECT   0x150
#define SIREG	   0x151
#define STOPEI	   0x15c
#define EIDELIVERY 0x70
#define EITHRESHOLD 0x72
#define EIE0	   0xc0

	.macro	imsic register, value
	li	t0, \register
	csrw	SISELECT, t0
	li	t0, \value
	csrw	SIREG, t0
	.endm

	.macro	claim
	csrrw	s5, STOPEI, zero
	srli	s5, s5, 16
	.endm

	.macro	complete
	.endm

main:
	imsic	EIDELIVERY, 1
	imsic	EITHRESHOLD, 0
	imsic	EIE0, 1 << IDENTITY
	li	t0, APLIC
	li	t1, 4 /* rising edges */
	sw	t1, 4 * SOURCE(t0)
	li	t2, APLIC + TARGET
	li	t1, IDENTITY /* of hart 0 */
	sw	t1, 4 * SOURCE(t2)
	li	t2, APLIC + SETIENUM
	li	t1, SOURCE
	sw	t1, 0(t2)
	li	t1, 0x104 /* enabled, by messages */
	sw	t1, DOMAINCFG(t0)
	li	t1, SEIE
	csrw	sie, t1

#include "alarm.inc"
