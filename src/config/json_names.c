#include "config/json_names.h"

const char *const json_engine_names[DISK_ENGINE_IO_URING + 1] = {
	[DISK_ENGINE_SYNC] = "Sync",
	[DISK_ENGINE_IO_URING] = "Async",
};

const char *const json_cache_names[BLK_CACHE_WRITEBACK + 1] = {
	[BLK_CACHE_UNSAFE] = "Unsafe",
	[BLK_CACHE_WRITEBACK] = "Writeback",
};

const char *const json_pages_names[CONFIG_PAGES_2M + 1] = {
	[CONFIG_PAGES_SMALL] = "None",
	[CONFIG_PAGES_TRANSPARENT] = "Transparent",
	[CONFIG_PAGES_2M] = "2M",
};

const char *const json_level_names[LOG_TRACE + 1] = {
	[LOG_OFF] = "Off",   [LOG_ERROR] = "Error", [LOG_WARN] = "Warn",
	[LOG_INFO] = "Info", [LOG_DEBUG] = "Debug", [LOG_TRACE] = "Trace",
};
