/*
 * How the process ends, as its parent sees it. 148 to 157 are Firecracker's, with its meanings,
 * so that what drives one can drive the other; docs/televm.1.scd tells them to users.
 */
#pragma once

enum exit_status {
	EXIT_STATUS_OK = 0,         /**< the guest shut down or rebooted, or its user left */
	EXIT_STATUS_ERROR = 1,      /**< the host lacks something, or anything else */
	EXIT_STATUS_PANIC = 3,      /**< the guest's kernel said so */
	EXIT_STATUS_VCPU_ERROR = 4, /**< KVM cannot go on with a vCPU */
	EXIT_STATUS_SIGSYS = 148,   /**< a system call that the sandbox forbids */
	EXIT_STATUS_SIGBUS = 149,   /**< also a file that was cut short under its mapping */
	EXIT_STATUS_SIGSEGV = 150,
	EXIT_STATUS_SIGXFSZ = 151,
	EXIT_STATUS_BAD_CONFIG = 152,
	EXIT_STATUS_BAD_ARGUMENTS = 153,
	EXIT_STATUS_SIGXCPU = 154,
	EXIT_STATUS_SIGPIPE = 155,
	EXIT_STATUS_SIGHUP = 156,
	EXIT_STATUS_SIGILL = 157,
	EXIT_STATUS_SIGNAL = 128, /**< plus the number, when stopped by SIGINT or SIGTERM */
};
