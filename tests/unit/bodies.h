/*
 * What tests of the configuration share: a body of each kind, put into a configuration as the API
 * does it.
 */
#pragma once

#include "config/config_json.h"

enum kind {
	BOOT,
	MACHINE,
	MACHINE_PATCH,
	DISK,
	DISK_PATCH,
	NET,
	NET_PATCH,
	VSOCK,
	BALLOON,
	HINTING,
	RNG,
	SERIAL,
	LOGGER,
	METRICS,
	MMDS,
	CPU,
	N_BODIES,
};

/**
 * Put it. A patch of a disk or network is only read: there is no machine to take it.
 * \return 0, or a negative errno with a sentence
 */
int put_body(struct vm_config *config, enum kind kind, const json_t *body, struct json_notes *notes,
	     struct err *err);
