/*
 * The user's terminal: raw while a guest owns the keyboard, as it was before on every way out.
 *
 * A process has one controlling terminal, and a signal handler must be able to give it back
 * without being handed anything: so what was saved is file-scope state, one of the few pieces in
 * the program. terminal_restore() runs at exit by itself; handlers of fatal signals call it too.
 *
 * In raw mode the keys Ctrl-c, Ctrl-\ and Ctrl-z are bytes for the guest, so no signal comes from
 * the keyboard. A job that was stopped from elsewhere may find another mode when it goes on: a
 * handler of SIGCONT makes the terminal raw again.
 */
#pragma once

#include "util/err.h"

/**
 * Make \p fd raw if it is a terminal, and tell the log that its lines need a CR.
 * \param fd borrowed, must stay open until terminal_restore()
 * \return 0, also when \p fd is no terminal or already raw by this function; -errno
 */
__attribute__((warn_unused_result)) int terminal_raw(int fd, struct err *err);

/** Undo terminal_raw(). Async-signal-safe, any thread, legal at any time and twice. */
void terminal_restore(void);
