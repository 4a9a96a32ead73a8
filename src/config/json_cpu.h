/* The writing side of /cpu-config. */
#pragma once

#include "config/config.h"

#include <jansson.h>

/** A new reference, NULL when there is no memory; null when it was not set. */
json_t *cpu_to_json(const struct config_cpu *cpu);
