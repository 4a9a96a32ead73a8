/*
 * Odd SBI calls: each prints "name: error value". Hart 1 of two is there to be asked about; it is
 * never started.
 */
#include "guest.inc"

	.macro	args a, b, c
	li	a0, \a
	li	a1, \b
	li	a2, \c
	.endm

main:
	args	1, 2, 3
	sbi	0x0a123456, 7
	show	"unknown extension"
	args	0, 0, 0
	sbi	SBI_DBCN, 9
	show	"unknown function"
	args	0, 0, 0
	sbi	SBI_BASE, 1
	show	"implementation"
	li	a0, SBI_SRST
	sbi	SBI_BASE, 3
	show	"probe SRST"
	li	a0, SBI_DBCN
	sbi	SBI_BASE, 3
	show	"probe DBCN"
	li	a0, 0x0a123456
	sbi	SBI_BASE, 3
	show	"probe unknown"

	args	0, 0, 0
	sbi	SBI_DBCN, 0
	show	"write nothing"
	args	5, 0x10000000, 0
	sbi	SBI_DBCN, 0
	show	"write from no RAM"
	args	5, RAM, 1
	sbi	SBI_DBCN, 0
	show	"write from above 2^64"
	args	-1, RAM, 0
	sbi	SBI_DBCN, 0
	show	"write nearly 2^64 bytes"
	args	4096, 0x8ffffffe, 0
	sbi	SBI_DBCN, 0
	show	"write over the end of RAM"
	args	5, SERIAL, 0
	sbi	SBI_DBCN, 1
	show	"read to no RAM"
	args	5, 0x80400000, 0
	sbi	SBI_DBCN, 1
	show	"read without input"
	li	a0, 0xfff0041 /* only the lowest byte counts */
	sbi	SBI_DBCN, 2
	show	"write a byte"

	args	1, 0, 0
	sbi	SBI_HSM, 2
	show	"status of hart 1"
	args	0, 0, 0
	sbi	SBI_HSM, 2
	show	"status of hart 0"
	args	77, 0, 0
	sbi	SBI_HSM, 2
	show	"status of hart 77"
	args	0, RAM, 0
	sbi	SBI_HSM, 0
	show	"start hart 0"
	args	77, RAM, 0
	sbi	SBI_HSM, 0
	show	"start hart 77"
	args	0x12345678, 0, 0
	sbi	SBI_HSM, 3
	show	"suspend oddly"
	args	0, 0, 0
	sbi	SBI_HSM, 9
	show	"HSM function 9"
	args	0x2, 64, 0
	sbi	SBI_IPI, 0
	show	"IPI to hart 65"
	args	9, 9, 0
	sbi	SBI_SRST, 0
	show	"reset of type 9"
	li	a0, 'L'
	sbi	1, 0
	say	"\nlegacy putchar came back\n"

	li	a0, 0
	j	end
