/* Loads and stores at addresses that are not RAM: holes, odd widths, registers over their end. */
#include "guest.inc"

	.macro	peek name, op, address
	li	t0, \address
	\op	s2, 0(t0)
	say	"\name: "
	mv	a0, s2
	call	put_hex
	say	"\n"
	.endm

	.macro	poke op, value, address
	li	t0, \address
	li	t1, \value
	\op	t1, 0(t0)
	.endm

main:
	peek	"hole byte", lbu, 0x50000000
	peek	"hole word", lwu, 0x50000000
	peek	"hole doubleword", ld, 0x50000000
	peek	"below all", ld, 0
	peek	"far above RAM", ld, 0xffff000000
	poke	sb, 1, 0x50000000
	poke	sd, -1, 0x60000000
	poke	sd, -1, 0x1ff8
	/* The UART at other widths and past its eight registers */
	li	t0, SERIAL
	li	t1, 0x5a
	sb	t1, 7(t0)
	lbu	s2, 7(t0)
	say	"scratch: "
	mv	a0, s2
	call	put_hex
	say	"\n"
	peek	"UART doubleword", ld, SERIAL
	peek	"UART beyond", lwu, SERIAL + 0x800
	poke	sd, 0, SERIAL + 0x800
	/* A byte out by the UART itself */
	poke	sb, 'U', SERIAL
	poke	sb, '\n', SERIAL
	/* Words of all devices there are or may be */
	li	s3, 0x40000000
	li	s4, 0x40020000
1:
	lwu	t1, 0(s3)
	addi	s3, s3, 12
	blt	s3, s4, 1b
	say	"still here\n"
	li	a0, 0
	j	end
