#include "cli/ctl.h"

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/values.h"
#include "config/exit_status.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/parse.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- flags ---- */

static int set_timeout(void *target, const char *value, struct err *err)
{
	struct ctl *ctl = target;

	ctl->has_timeout = true;
	if (parse_uint(value, INT_MAX / 1000, &ctl->timeout_s) != 0)
		return err_set(err, -EINVAL, "--timeout: '%.64s' is not a number of seconds",
			       value);
	return 0;
}

#define AT(member) offsetof(struct ctl, member)
#define JSON_ROW                                                                                   \
	{ "--json", NULL, "for programs: JSON on one line", option_set_true, false, AT(is_json) }

static const struct option_row no_flags[] = { { 0 } };
static const struct option_row json_flags[] = { JSON_ROW, { 0 } };
static const struct option_row metrics_flags[] = {
	JSON_ROW,
	{ "--prometheus", NULL, "Prometheus's text", option_set_true, false, AT(is_prometheus) },
	{ "--all", NULL, "also those that are zero", option_set_true, false, AT(has_all) },
	{ 0 },
};
static const struct option_row stop_flags[] = {
	{ "--wait", NULL, "until it has ended", option_set_true, false, AT(has_wait) },
	{ "--timeout", "SECONDS", "that --wait takes at most (default 60)", set_timeout, false, 0 },
	{ 0 },
};

/* ---- commands of a few lines ---- */

static int show_object(struct ctl *ctl, const char *target)
{
	cleanup_json json_t *answer = NULL;
	int status = ctl_get(ctl, target, &answer);

	if (status != 0)
		return status;
	return ctl->is_json ? ctl_print_json(ctl, answer) : ctl_rows(ctl, "", answer);
}

static int run_config(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json json_t *config = NULL;
	int status = ctl_get(ctl, "/vm/config", &config);

	(void)argc;
	(void)argv;
	return status != 0 ? status : ctl_print_json(ctl, config);
}

static int run_version(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show_object(ctl, "/version");
}

static int act(struct ctl *ctl, const char *method, const char *target, const char *name,
	       const char *value)
{
	return ctl_ask(ctl, method, target, ctl_body(name, json_string(value)), NULL);
}

static int run_start(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return act(ctl, "PUT", "/actions", "action_type", "InstanceStart");
}

static int run_pause(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return act(ctl, "PATCH", "/vm", "state", "Paused");
}

static int run_resume(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return act(ctl, "PATCH", "/vm", "state", "Resumed");
}

static int set_balloon(struct ctl *ctl, const char *size)
{
	uint64_t mib;

	if (value_mib("balloon", size, &mib, &ctl->err) != 0)
		return EXIT_STATUS_BAD_ARGUMENTS;
	return ctl_ask(ctl, "PATCH", "/balloon",
		       ctl_body("amount_mib", json_integer((json_int_t)mib)), NULL);
}

static int run_balloon(struct ctl *ctl, int argc, char **argv)
{
	if (argc == 0)
		return show_object(ctl, "/balloon");
	if (strcmp(argv[0], "stats") == 0)
		return show_object(ctl, "/balloon/statistics");
	return set_balloon(ctl, argv[0]);
}

/* The other side has a folder of its own: a path that is relative to ours would mean another. */
static char *absolute(const char *path)
{
	cleanup_free char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *whole = NULL;

	if (path[0] == '/')
		return strdup(path);
	return folder == NULL || asprintf(&whole, "%s/%s", folder, path) < 0 ? NULL : whole;
}

static int run_disk(struct ctl *ctl, int argc, char **argv)
{
	cleanup_free char *path = absolute(argv[1]);

	(void)argc;
	if (path == NULL) {
		err_sys(&ctl->err, "find the working folder");
		return CTL_REFUSED;
	}
	return ctl_patch_device(ctl, "/drives", "drive_id", argv[0],
				ctl_body("path_on_host", json_string(path)));
}

/* ---- any request ---- */

/* JSON from the argument, or from standard input when it is "-". */
static int take_json(struct ctl *ctl, const char *text, json_t **json)
{
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
	json_error_t error;

	*json = strcmp(text, "-") == 0 ? json_loadfd(STDIN_FILENO, flags, &error)
				       : json_loads(text, flags, &error);
	if (*json != NULL)
		return 0;
	err_set(&ctl->err, -EINVAL, "the body is no JSON: %.200s", error.text);
	return EXIT_STATUS_BAD_ARGUMENTS;
}

static int run_request(struct ctl *ctl, const char *method, int argc, char **argv)
{
	cleanup_json json_t *answer = NULL;
	json_t *body = NULL;
	int status = 0;

	if (argc > 1)
		status = take_json(ctl, argv[1], &body);
	if (status == 0)
		status = ctl_ask(ctl, method, argv[0], body, &answer);
	return status != 0 || answer == NULL ? status : ctl_print_json(ctl, answer);
}

static int run_get(struct ctl *ctl, int argc, char **argv)
{
	return run_request(ctl, "GET", argc, argv);
}

static int run_put(struct ctl *ctl, int argc, char **argv)
{
	return run_request(ctl, "PUT", argc, argv);
}

static int run_patch(struct ctl *ctl, int argc, char **argv)
{
	return run_request(ctl, "PATCH", argc, argv);
}

/* ---- the table ---- */

const struct ctl_command ctl_commands[] = {
	{ "status", "", "what it is and what it does",
	  "Shows the machine's id, state, process and devices.\n"
	  "\n"
	  "  televm ctl vm.sock status\n"
	  "  televm ctl vm.sock status --json | jq -r .state\n",
	  json_flags, 0, 0, ctl_status },
	{ "config", "", "its configuration, as a file for --config-file",
	  "Shows the configuration as it is now. `televm --config-file` takes it.\n"
	  "\n"
	  "  televm ctl vm.sock config >vm.json\n",
	  json_flags, 0, 0, run_config },
	{ "start", "", "start the machine that was configured",
	  "Starts a machine that was configured over the socket.\n"
	  "\n"
	  "  televm ctl vm.sock put /boot-source '{\"kernel_image_path\": \"Image\"}'\n"
	  "  televm ctl vm.sock start\n",
	  no_flags, 0, 0, run_start },
	{ "pause", "", "have it stand still",
	  "Stops all vCPUs until `resume`. What devices were asked for is done.\n"
	  "\n"
	  "  televm ctl vm.sock pause\n",
	  no_flags, 0, 0, run_pause },
	{ "resume", "", "have it go on",
	  "Lets a machine go on that was paused.\n"
	  "\n"
	  "  televm ctl vm.sock resume\n",
	  no_flags, 0, 0, run_resume },
	{ "stop", "", "have the guest shut down in order",
	  "Presses the guest's power key. What follows is the guest's: one without a\n"
	  "driver for it, or that hangs, goes on. `kill` ends any.\n"
	  "\n"
	  "  televm ctl vm.sock stop --wait || televm ctl vm.sock kill\n",
	  stop_flags, 0, 0, ctl_stop },
	{ "kill", "", "end it at once, and wait for that",
	  "Sends SIGTERM to the process that listens on the socket. The guest is not\n"
	  "asked.\n"
	  "\n"
	  "  televm ctl vm.sock kill\n",
	  no_flags, 0, 0, ctl_kill },
	{ "metrics", "", "counters since its start",
	  "Shows the counters that are not zero.\n"
	  "\n"
	  "  televm ctl vm.sock metrics\n"
	  "  televm ctl vm.sock metrics --prometheus >/var/lib/node_exporter/vm.prom\n",
	  metrics_flags, 0, 0, ctl_metrics },
	{ "balloon", "[SIZE|stats]", "show or set what the guest gives back",
	  "Without an operand shows the balloon, with a size sets how much memory the\n"
	  "guest shall give back; `stats` shows what the guest says of its memory.\n"
	  "\n"
	  "  televm ctl vm.sock balloon 256M\n"
	  "  televm ctl vm.sock balloon stats\n",
	  json_flags, 0, 1, run_balloon },
	{ "disk", "ID PATH", "put another file in the place of a disk's",
	  "The guest sees the new content, and its size. The same path again: its size\n"
	  "is read anew. A relative path begins in the working folder of this command.\n"
	  "\n"
	  "  televm ctl vm.sock disk data /srv/data2.img\n",
	  no_flags, 2, 2, run_disk },
	{ "limits", "disk|net ID KEY[,...]", "set rate limits, by the second",
	  "Keys are bandwidth=SIZE and ops=N; `off` in place of a number takes a limit\n"
	  "away. Of a network they are for both directions, and rx-bandwidth=, rx-ops=,\n"
	  "tx-bandwidth=, tx-ops= for what the guest receives and sends.\n"
	  "\n"
	  "  televm ctl vm.sock limits disk rootfs bandwidth=20M,ops=1000\n"
	  "  televm ctl vm.sock limits net eth0 tx-bandwidth=1M,rx-bandwidth=off\n",
	  no_flags, 3, 3, ctl_limits },
	{ "version", "", "of the interface that it speaks",
	  "Shows the version of Firecracker's interface that clients may expect.\n"
	  "\n"
	  "  televm ctl vm.sock version\n",
	  json_flags, 0, 0, run_version },
	{ "get", "PATH", "any request of the API",
	  "Shows the answer to a request of the API.\n"
	  "\n"
	  "  televm ctl vm.sock get /machine-config\n",
	  json_flags, 1, 1, run_get },
	{ "put", "PATH [BODY]", "the same; BODY is JSON, or - for standard input",
	  "Makes a request of the API and shows its answer, if it has one.\n"
	  "\n"
	  "  televm ctl vm.sock put /mmds '{\"role\": \"web\"}'\n"
	  "  televm ctl vm.sock put /mmds - <metadata.json\n",
	  json_flags, 1, 2, run_put },
	{ "patch", "PATH [BODY]", "the same",
	  "Makes a request of the API and shows its answer, if it has one.\n"
	  "\n"
	  "  televm ctl vm.sock patch /balloon '{\"amount_mib\": 5}'\n",
	  json_flags, 1, 2, run_patch },
	{ 0 },
};

/* ---- help ---- */

static const struct ctl_command *find_command(const char *name)
{
	for (const struct ctl_command *row = ctl_commands; row->name != NULL; row++) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

static int print_help(void)
{
	char text[4096] =
		"Usage: televm ctl SOCK COMMAND [OPERAND...] [FLAG...]\n"
		"\n"
		"Ask and steer a virtual machine over its API socket: of `televm --api-sock`\n"
		"or `televm run --api-sock`.\n"
		"\n"
		"Commands:\n";
	static const char tail[] =
		"\n"
		"'televm ctl COMMAND --help' tells more of each.\n"
		"\n"
		"Exit status: 0 done; 1 the machine refused, or did not do it in time;\n"
		"2 nobody answers; 153 bad arguments. See televm-ctl(1).\n";
	size_t used = strlen(text);

	for (const struct ctl_command *row = ctl_commands; row->name != NULL; row++) {
		char left[48];

		snprintf(left, sizeof(left), "%s %s", row->name, row->operands);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "  %-28s %s\n", left,
					 row->help);
	}
	memcpy(text + used, tail, sizeof(tail));
	return cli_print(text);
}

static int print_command_help(const struct ctl_command *command)
{
	char head[2048];

	snprintf(head, sizeof(head), "Usage: televm ctl SOCK %s%s%s [FLAG...]\n\n%s\nFlags:\n",
		 command->name, command->operands[0] == '\0' ? "" : " ", command->operands,
		 command->text);
	return cli_print_help(head, command->flags, "");
}

/* \return whether help was asked for; \p command: of which command, NULL: of all */
static bool wants_help(int argc, char **argv, const struct ctl_command **command)
{
	bool wants = false;
	int n_words = 0;

	*command = NULL;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			wants = true;
		else if (n_words++ < 2 && *command == NULL)
			*command = find_command(argv[i]);
	}
	return wants;
}

int cli_ctl_words(int argc, char **argv)
{
	const struct ctl_command *command = argc > 0 ? find_command(argv[0]) : NULL;
	char words[1024] = "";
	size_t used = 0;

	if (command != NULL)
		return cli_print_words("", command->flags);
	for (const struct ctl_command *row = ctl_commands; argc == 0 && row->name != NULL; row++)
		used += (size_t)snprintf(words + used, sizeof(words) - used, "%s\n", row->name);
	return cli_print(words);
}

/* ---- running ---- */

static int refuse(const struct err *err)
{
	log_error("%s", err->text);
	log_info("'televm ctl --help' lists the commands");
	return EXIT_STATUS_BAD_ARGUMENTS;
}

static int refuse_command(const char *name)
{
	const char *words[ARRAY_SIZE(ctl_commands)];
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(ctl_commands); i++)
		words[i] = ctl_commands[i].name;
	options_refuse_word("command", name, words, &err);
	return refuse(&err);
}

/* A word of the command in the place of the socket, or of a flag in the place of a word. */
static int check_order(int argc, char **argv, struct err *err)
{
	if (argc < 2)
		return err_set(err, -EINVAL,
			       "ctl needs a socket and a command: televm ctl SOCK COMMAND");
	if (argv[0][0] == '-' || argv[1][0] == '-')
		return err_set(err, -EINVAL,
			       "flags stand behind the command: televm ctl SOCK COMMAND [FLAG...]");
	if (find_command(argv[0]) != NULL && find_command(argv[1]) == NULL)
		return err_set(err, -EINVAL,
			       "the socket stands before the command: televm ctl %.64s %s", argv[1],
			       argv[0]);
	return 0;
}

static int check_operands(const struct ctl_command *command, int n, struct err *err)
{
	if (n < command->min_operands)
		return err_set(err, -EINVAL, "%s needs more: %s %s", command->name, command->name,
			       command->operands);
	if (n > command->max_operands)
		return err_set(err, -EINVAL, "%s takes no more than: %s %s", command->name,
			       command->name, command->operands);
	return 0;
}

static int run_command(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	int status = EXIT_STATUS_BAD_ARGUMENTS;
	int n_operands;

	if (options_parse_operands(command->flags, argc, argv, &n_operands, ctl, &ctl->err) == 0 &&
	    check_operands(command, n_operands, &ctl->err) == 0)
		status = command->run(ctl, n_operands, argv);
	if (status != 0)
		log_error("%s", ctl->err.text);
	if (status == EXIT_STATUS_BAD_ARGUMENTS)
		log_info("'televm ctl %s --help' tells more", command->name);
	return status;
}

int cli_ctl(int argc, char **argv)
{
	struct ctl ctl = { .timeout_s = 60 };
	const struct ctl_command *command;

	if (wants_help(argc, argv, &command))
		return command == NULL ? print_help() : print_command_help(command);
	if (check_order(argc, argv, &ctl.err) != 0)
		return refuse(&ctl.err);
	ctl.sock = argv[0];
	command = find_command(argv[1]);
	if (command == NULL)
		return refuse_command(argv[1]);
	return run_command(&ctl, command, argc - 2, argv + 2);
}
