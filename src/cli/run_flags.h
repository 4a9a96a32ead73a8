/* The flags of `televm run`. */
#pragma once

#include "cli/options.h"

extern const struct option_row run_flags[];
