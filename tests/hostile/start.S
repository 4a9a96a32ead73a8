/*
 * Where the guest of these cases begins: the frame of the small guests of tests/system, and stacks
 * that are large enough for C.
 */
#define HAS_OTHERS
#include "../system/guests/guest.inc"

#define STACK_OF_C 0x10000

	.globl	hart_start

main:
	la	sp, stack_of_main
	call	guest_main
	li	a0, 0
	j	end

	/* Called by hart 0 for one function, as long as that wants: guest.c. */
main_other:
	la	sp, stack_of_other
	mv	a0, s1
	call	guest_other
	sbi	SBI_HSM, 1
	j	end

	.bss
	.balign	16
	.space	STACK_OF_C
stack_of_main:
	.space	STACK_OF_C
stack_of_other:
	.text
