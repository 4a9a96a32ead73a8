#include "cli/cli.h"

#include "config/exit_status.h"
#include "util/io.h"
#include "util/log.h"
#include "util/parse.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static int print(const char *text)
{
	return write_all(STDOUT_FILENO, text, strlen(text)) == 0 ? EXIT_STATUS_OK
								 : EXIT_STATUS_ERROR;
}

static int show_help_of(const char *name);

static int show_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return print("televm " TELEVM_VERSION "\n");
}

static int show_help(int argc, char **argv)
{
	if (argc > 0)
		return show_help_of(argv[0]);
	return print("Usage: televm COMMAND [FLAG...]\n"
		     "\n"
		     "TeleVM runs small virtual machines on RISC-V.\n"
		     "\n"
		     "Commands:\n"
		     "  run                   run a virtual machine on this terminal\n"
		     "  ctl SOCK              ask and steer one that runs\n"
		     "  help [COMMAND]        show this, or the help of a command\n"
		     "\n"
		     "Flags:\n"
		     "  -h, --help            show this\n"
		     "  -V, --version         show the version\n"
		     "\n"
		     "Example:\n"
		     "  televm run --kernel Image --initrd initramfs.cpio\n"
		     "\n"
		     "'televm run --help' lists the flags of run; televm(1) tells the rest.\n");
}

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv); /**< gets the arguments after the name */
} commands[] = {
	{ "run", cli_run },      { "ctl", cli_ctl },  { "help", show_help },
	{ "--help", show_help }, { "-h", show_help }, { "--version", show_version },
	{ "-V", show_version },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int refuse_command(const char *name)
{
	const char *words[N_COMMANDS + 1] = { NULL };
	const char *nearest;

	for (int i = 0; i < N_COMMANDS; i++)
		words[i] = commands[i].name;
	nearest = nearest_word(name, words);
	if (nearest == NULL)
		log_error("unknown command '%.64s'", name);
	else
		log_error("unknown command '%.64s'; did you mean %s?", name, nearest);
	log_info("'televm --help' lists the commands");
	return EXIT_STATUS_BAD_ARGUMENTS;
}

/* A file opened in the place of a closed standard descriptor would be taken for the terminal, and
 * error messages written into it. */
static bool open_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	}
	return true;
}

/* What the help of \p name is, or a refusal. */
static int show_help_of(const char *name)
{
	static char help[] = "--help";
	char *args[] = { help, NULL };

	for (int i = 0; i < N_COMMANDS; i++) {
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run == show_help ? show_help(0, NULL)
							    : commands[i].run(1, args);
	}
	return refuse_command(name);
}

int cli_main(int argc, char **argv)
{
	/* A reader that has gone is an error of write(2), not the end of the VM. */
	signal(SIGPIPE, SIG_IGN);
	if (!open_standard_fds()) {
		log_error(
			"standard input, output or error is closed and /dev/null cannot be opened");
		return EXIT_STATUS_ERROR;
	}
	if (argc < 2) {
		log_error("no command is given");
		log_info("'televm --help' lists the commands");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	for (int i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 2, argv + 2);
	}
	return refuse_command(argv[1]);
}
