/*
 * The frame of a guest of a few instructions: a kernel's header, a stack for each hart, and a
 * console by SBI calls. A guest includes this first and begins at main, in S-mode, with its hart's
 * number in s0, the device tree's address in s1 and a stack; where it defines HAS_OTHERS, the harts
 * it starts at hart_start go on at main_other. tests/system/run builds it to lie at 0x80200000.
 */

#define SBI_BASE 0x10
#define SBI_TIME 0x54494d45
#define SBI_IPI  0x735049
#define SBI_RFNC 0x52464e43
#define SBI_HSM  0x48534d
#define SBI_SRST 0x53525354
#define SBI_DBCN 0x4442434e

#define RAM        0x80000000
#define SERIAL     0x40002000
#define IMAGE_SIZE 0x800000 /* with what a test appends to the file */
#define MAX_HARTS  32
#define STACK_SIZE 1024

/* An SBI call: arguments in a0 to a5, results in a0 and a1. */
.macro sbi extension,
	function li a7, \extension li a6, \function ecall
						  .endm

						  /* Print a text. Clobbers what a call may. */
						  .macro say text.pushsection.rodata 9999
    :.ascii "\text" 9998 :.popsection la a0,
	9999b la a1, 9998b sub a1, a1,
	a0 call
		put.endm

			/* Print "name: a0 a1" of an SBI call that has just returned. */
			.macro show name mv s10,
	a0 mv s11, a1 say "\name: " mv a0, s10 call put_signed say " " mv a0,
	s11 call put_hex say
	"\n".endm

		.text.globl _start _start : j 1f .word 0
		.dword 0x200000 /* where it lies in RAM */
		.dword IMAGE_SIZE
		.dword 0 /* flags: little-endian */
		.word 2  /* version 0.2 */
		.word 0 .dword 0 .ascii "RISCV\0\0\0".ascii "RSC\005".word 0 1 :
    /* Harts that are started later come in here, and have what they were given in s1. */
    hart_start : mv s0,
	a0 mv s1, a1 la sp, stacks + STACK_SIZE li t0, STACK_SIZE mul t0, t0, s0 add sp, sp,
	t0 la t0, trapped csrw stvec,
	t0
#ifdef HAS_OTHERS
		bnez s0,
	main_other
#endif
		j main

			/* Nobody expects a trap: print its cause and where it came from, and end by
			   a reboot. */
			.balign 4 trapped : say "trap: scause " csrr a0,
	scause call put_hex say " sepc " csrr a0, sepc call put_hex say " stval " csrr a0,
	stval call put_hex say "\n" li a0,
	1 j end

		/* put(text, length): all of it, however little is taken at a time. */
		put : addi sp,
		      sp,
		      -32 sd ra,
		      0(sp)sd a0,
		      8(sp)sd a1,
		      16(sp)1 : ld a1,
				8(sp)ld a0,
				16(sp)li a2,
				0 beqz a0,
				2f sbi SBI_DBCN,
				0 bnez a0,
				2f ld a0,
				8(sp)add a0,
				a0,
				a1 sd a0,
				8(sp)ld a0,
				16(sp)sub a0,
				a0,
				a1 sd a0,
				16(sp)j 1b 2 : ld ra,
					       0(sp)addi sp,
					       sp,
					       32 ret

					       /* put_byte(byte) */
					       put_byte
    : addi sp,
      sp,
      -16 sd ra,
      0(sp)sb a0,
      8(sp)addi a0,
      sp,
      8 li a1,
      1 call put ld ra,
      0(sp)addi sp,
      sp,
      16 ret

      /* put_signed(number): a small number in decimal */
      put_signed : bgez a0,
		   put_hex addi sp,
		   sp,
		   -16 sd ra,
		   0(sp)sd a0,
		   8(sp)li a0,
		   '-' call put_byte ld a0,
		   8(sp)neg a0,
		   a0 ld ra,
		   0(sp)addi sp,
		   sp,
		   16
		   /* fall through */

		   /* put_hex(number): without leading zeros and without 0x */
		   put_hex : addi sp,
			     sp,
			     -32 sd ra,
			     0(sp)mv t0,
			     a0 addi t1,
			     sp,
			     31 li t4,
			     10 1 : andi t2,
				    t0,
				    15 addi t3,
				    t2,
				    '0' blt t2,
				    t4,
				    2f addi t3,
				    t2,
				    'a' - 10 2 : sb t3,
				    0(t1)srli t0,
				    t0,
				    4 beqz t0,
				    3f addi t1,
				    t1,
				    -1 j 1b 3 : mv a0,
				    t1 addi a1,
				    sp,
				    32 sub a1,
				    a1,
				    t1 call put ld ra,
				    0(sp)addi sp,
				    sp,
				    32 ret

				    /* take(): wait for a byte of input and return it */
				    take : addi sp,
					   sp,
					   -16 sd ra,
					   0(sp)1
    : li a0,
      1 addi a1,
      sp,
      8 li a2,
      0 sbi SBI_DBCN,
      1 beqz a1,
      1b lbu a0,
      8(sp)ld ra,
      0(sp)addi sp,
      sp,
      16 ret

      /* end(how): 0 shutdown, 1 cold reboot, 2 warm reboot; without coming back */
      end : li a1,
	    0 sbi SBI_SRST,
	    0 wfi j end

		    .bss.balign 16 stacks :.space MAX_HARTS *STACK_SIZE.text
