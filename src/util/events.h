/* What libevent has no word for. */
#pragma once

#include <event2/event.h>
#include <stddef.h>

/** Free an event, which may be NULL, and forget it. */
static inline void free_event(struct event **event)
{
	if (*event != NULL)
		event_free(*event);
	*event = NULL;
}
