#include "cli/cli.h"

#include "cli/run_flags.h"
#include "cli/server.h"
#include "cli/server_flags.h"
#include "config/exit_status.h"
#include "util/bits.h"
#include "util/io.h"
#include "util/log.h"
#include "util/parse.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FDS_WANTED = 2048 };

static int print(const char *text)
{
	return write_all(STDOUT_FILENO, text, strlen(text)) == 0 ? EXIT_STATUS_OK
								 : EXIT_STATUS_ERROR;
}

static bool is_one_of(const char *word, const char *name, const char *other_name)
{
	return strcmp(word, name) == 0 || strcmp(word, other_name) == 0;
}

static int show_help_of(const char *name);
static int show_words(int argc, char **argv);

static int show_run_words(int argc, char **argv)
{
	char text[2048] = "";

	(void)argc;
	(void)argv;
	options_words(run_flags, text, sizeof(text));
	return print(text);
}

static int show_help(int argc, char **argv)
{
	if (argc > 0 && strcmp(argv[0], "--words") == 0)
		return show_words(argc - 1, argv + 1);
	if (argc > 0 && !is_one_of(argv[0], "--help", "-h"))
		return show_help_of(argv[0]);
	return print(
		"Usage: televm COMMAND [FLAG...]\n"
		"       televm --api-sock FILE [FLAG...]\n"
		"       televm --config-file FILE [FLAG...]\n"
		"\n"
		"TeleVM runs small virtual machines on RISC-V.\n"
		"\n"
		"Commands:\n"
		"  run                   run a virtual machine on this terminal\n"
		"  ctl SOCK              ask and steer one that runs\n"
		"  help [COMMAND|api]    show this, or the help of a command\n"
		"\n"
		"Flags:\n"
		"  -h, --help            show this\n"
		"  -V, --version         show the version\n"
		"  others                Firecracker's: 'televm help api' lists them\n"
		"\n"
		"Example:\n"
		"  televm run --kernel Image --initrd initramfs.cpio\n"
		"\n"
		"'televm COMMAND --help' lists a command's flags; televm(1) tells the rest.\n");
}

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv); /**< gets the arguments after the name */
	int (*show_words)(int argc, char **argv);
} commands[] = {
	{ "run", cli_run, show_run_words },
	{ "ctl", cli_ctl, cli_ctl_words },
	{ "help", show_help, NULL },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int refuse_command(const char *name)
{
	const char *words[ARRAY_SIZE(commands) + 1] = { NULL };
	const char *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		words[i] = commands[i].name;
	nearest = nearest_word(name, words);
	if (nearest == NULL)
		log_error("unknown command '%.64s'", name);
	else
		log_error("unknown command '%.64s'; did you mean %s?", name, nearest);
	log_info("'televm --help' lists the commands");
	return EXIT_STATUS_BAD_ARGUMENTS;
}

static int show_help_of(const char *name)
{
	static char help[] = "--help";
	const struct command *command = find_command(name);
	char *args[] = { help, NULL };

	if (strcmp(name, "api") == 0)
		return cli_server_help();
	if (command == NULL)
		return refuse_command(name);
	return command->run == show_help ? show_help(0, NULL) : command->run(1, args);
}

/* What may stand first, a word a line, flags with the name of their value; or behind a command. */
static int show_words(int argc, char **argv)
{
	const struct command *command = argc > 0 ? find_command(argv[0]) : NULL;
	char text[2048] = "";

	if (command != NULL)
		return command->show_words == NULL ? EXIT_STATUS_OK
						   : command->show_words(argc - 1, argv + 1);
	if (argc == 0)
		strcpy(text, "run\nctl\nhelp\n");
	options_words(server_flags, text, sizeof(text));
	return print(text);
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

/* The usual limit is for programs that call select(). Sockets of a guest alone may be 1023. */
static void allow_more_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FDS_WANTED)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)FDS_WANTED);
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int dispatch(int argc, char **argv)
{
	const bool is_firecracker = argc > 0 && cli_is_firecracker(argv[0]);
	const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

	if (command != NULL)
		return command->run(argc - 2, argv + 2);
	if (argc < 2 && !is_firecracker) {
		log_error("no command is given");
		log_info("'televm --help' lists the commands");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	if (argc > 1 && !is_firecracker && is_one_of(argv[1], "--help", "-h"))
		return show_help(0, NULL);
	if (argc > 1 && is_one_of(argv[1], "--version", "-V"))
		return cli_show_version(argv[0]);
	/* Flags without a command word are Firecracker's. */
	return argc < 2 || argv[1][0] == '-' ? cli_server(argc, argv) : refuse_command(argv[1]);
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
	allow_more_fds();
	return dispatch(argc, argv);
}
