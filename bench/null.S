/*
 * The null guest: a RISC-V Image that prints one character by the SBI debug console and shuts
 * down. What it costs is what the monitor costs. Built with -DTIME it prints the value of the
 * clock at its first instruction instead, as 16 hexadecimal digits and a newline.
 */
	.option norvc
	.globl _start
_start:
	j begin
	.word 0
	.dword 0x200000		/* offset from the start of memory */
	.dword 4096		/* size */
	.dword 0		/* little endian */
	.word 2			/* version of this header */
	.word 0
	.dword 0
	.ascii "RISCV\0\0\0"
	.ascii "RSC\005"
	.word 0

/* print the character in a0 */
	.macro print
	li a7, 0x4442434e	/* debug console */
	li a6, 2		/* write byte */
	ecall
	.endm

begin:
#ifdef TIME
	rdtime s0
	li s1, 16
next:
	srli a0, s0, 60
	slli s0, s0, 4
	sltiu t0, a0, 10
	addi a0, a0, '0'
	bnez t0, digit
	addi a0, a0, 'a' - '0' - 10
digit:
	print
	addi s1, s1, -1
	bnez s1, next
	li a0, '\n'
#else
	li a0, '!'
#endif
	print
	li a7, 0x53525354	/* system reset */
	li a6, 0
	li a0, 0		/* shut down */
	li a1, 0
	ecall
stop:
	wfi
	j stop
