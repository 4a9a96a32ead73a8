/*
 * The engine that waits: each request is done when disk_submit() returns. It needs nothing of the
 * kernel but files, and no memory; a slow disk holds up the loop, and so the devices beside it.
 */
#include "backend/disk.h"

static int sync_start(struct disk *disk, struct disk_request *req)
{
	int result;

	do
		result = disk_call_done(disk, req, disk_make_call(disk, req));
	while (result == DISK_PENDING);
	return result;
}

const struct disk_ops disk_sync_ops = { .depth = 1, .start = sync_start };
