/*
 * KVM's numbers for ISA extensions, and the names they have in a device tree.
 */
#pragma once

enum { KVM_ISA_N_NAMES = 75 };

/**
 * The name of KVM's ISA extension number \p id ("zicbom").
 * \return NULL when this program does not know it: a guest is told only of what has a name here
 */
const char *kvm_isa_name(unsigned int id);
