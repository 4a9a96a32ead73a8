/*
 * KVM's numbers for ISA extensions, and the names they have in a device tree; and those for SBI
 * extensions, by the names that the kernel's source has.
 */
#pragma once

enum { KVM_ISA_N_NAMES = 75 };

/**
 * The name of KVM's ISA extension number \p id ("zicbom").
 * \return NULL when this program does not know it: a guest is told only of what has a name here
 */
const char *kvm_isa_name(unsigned int id);

/** The number of the extension of this name, or -1. */
int kvm_isa_number(const char *name);

/** KVM's number for the SBI extension of this name ("pmu"), or -1. */
int kvm_sbi_number(const char *name);
