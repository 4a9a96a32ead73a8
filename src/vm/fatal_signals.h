/*
 * The last words of a process that a signal ends: the terminal is given back, one log line says
 * what happened, and the exit status is the one that Firecracker gives to that signal; where it has
 * none, the process dies of the signal.
 *
 * What was ignored when the process started stays ignored: nohup does so with SIGHUP, and a shell
 * with the SIGINT and SIGQUIT of what it runs in the background.
 *
 * A SIGBUS is told apart: when it hit guest memory and a file mapped there has become shorter, the
 * user did that, and is told so.
 *
 * A handler gets no argument, so what it needs is file-scope state: one of the few pieces in the
 * program, set before the first vCPU runs and constant until fatal_signals_forget().
 */
#pragma once

#include <stdbool.h>

struct boot;
struct guest_mem;

/** Is the signal ignored, by this process or by who started it? */
bool signal_is_ignored(int signo);

/** Install the handlers; then that of the kick signal (vcpu.h) can follow. */
void fatal_signals_install(void);

/** What a SIGBUS may be about. Borrowed until fatal_signals_forget(). */
void fatal_signals_know(const struct boot *boot, const struct guest_mem *mem);

/** The borrowed objects are about to go. The handlers stay. */
void fatal_signals_forget(void);
