/*
 * The pages of the program and of its stack that only its start needs.
 *
 * A second after the start most of the program has done its work, and the pages of its file count
 * as resident though nothing needs them: all are let go. What is still needed comes back from the
 * page cache by a few faults. Of the stack, what only the start's calls have used is freed.
 */
#pragma once

struct event_base;

/** Drop them in a second, on the loop's thread. Where it cannot be had, nothing is lost but memory.
 */
void startup_pages_drop_later(struct event_base *base);
