/*
 * The start forms without a command word: a process that is told over its API, or by a file, what
 * machine to run, as Firecracker is. Its clients start it with Firecracker's flags, look for
 * Firecracker's lines in the log and for its exit statuses, so these are the same.
 */
#pragma once

#include <stdbool.h>

/** `televm --api-sock …`; \p argv: all arguments. \return the process's exit status */
__attribute__((warn_unused_result)) int cli_server(int argc, char **argv);

/** The version of the name that the program was called by. \return an exit status */
__attribute__((warn_unused_result)) int cli_show_version(const char *program);

/** Print the help of these forms. \return an exit status */
__attribute__((warn_unused_result)) int cli_server_help(void);

/** Is this the name of Firecracker's program, by which it was installed too? */
__attribute__((warn_unused_result)) bool cli_is_firecracker(const char *program);
