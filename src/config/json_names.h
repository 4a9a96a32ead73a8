/* What choices are called in Firecracker's JSON, in the order of their enumerators. */
#pragma once

#include "config/config.h"

extern const char *const json_engine_names[DISK_ENGINE_IO_URING + 1];
extern const char *const json_cache_names[BLK_CACHE_WRITEBACK + 1];
extern const char *const json_pages_names[CONFIG_PAGES_2M + 1];

/** In a form that Firecracker reads too. */
extern const char *const json_level_names[LOG_TRACE + 1];
