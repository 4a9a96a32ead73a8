/* The flags of `televm run` that add devices: what they take is a list of keys. */
#pragma once

#include "util/err.h"

/* Setters of rows of run_flags; the target is a struct vm_config. */
int set_disk_flag(void *target, const char *value, struct err *err);
int set_net_flag(void *target, const char *value, struct err *err);
int set_vsock_flag(void *target, const char *value, struct err *err);
int set_balloon_flag(void *target, const char *value, struct err *err);
int set_rng_flag(void *target, const char *value, struct err *err);
