#include "cli/server.h"

#include "api/microvm.h"
#include "api/mmds.h"
#include "api/server.h"
#include "api/version.h"
#include "backend/terminal.h"
#include "cli/server_flags.h"
#include "cli/session.h"
#include "config/exit_status.h"
#include "config/json_write.h"
#include "util/clock.h"
#include "util/io.h"
#include "util/log.h"
#include "util/metrics.h"
#include "vm/fatal_signals.h"
#include "vm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int cli_server_help(void)
{
	static const char tail[] =
		"\n"
		"Examples:\n"
		"  televm --api-sock vm.sock --id web1\n"
		"  curl --unix-socket vm.sock -X PUT http://localhost/boot-source \\\n"
		"       -d '{\"kernel_image_path\": \"Image\"}'\n"
		"  televm --config-file vm.json --no-api\n"
		"\n"
		"Exit status: 0 the guest shut down or rebooted; 1 an error; 3 it panicked;\n"
		"148 to 157 as Firecracker's: 152 bad configuration, 153 bad arguments.\n"
		"See televm-api(1).\n";
	char text[8192] =
		"Usage: televm --api-sock FILE [FLAG...]\n"
		"       televm --config-file FILE [--no-api] [FLAG...]\n"
		"\n"
		"Run a virtual machine that is told over a socket or by a file what it shall be,\n"
		"with Firecracker's API and flags. Its console is on standard input and output.\n"
		"\n";
	size_t used;

	options_help(server_flags, text, sizeof(text) - sizeof(tail));
	used = strlen(text);
	memcpy(text + used, tail, sizeof(tail));
	return write_all(STDOUT_FILENO, text, strlen(text)) == 0 ? EXIT_STATUS_OK
								 : EXIT_STATUS_ERROR;
}

bool cli_is_firecracker(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strcmp(slash == NULL ? program : slash + 1, "firecracker") == 0;
}

/* ---- signals ---- */

/* Of SIGTERM and SIGINT the process dies at once, but not with the user's terminal. */
static void on_stop(int signo)
{
	terminal_restore();
	raise(signo);
}

static void take_signals(void)
{
	const struct sigaction stop = { .sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND };

	fatal_signals_install();
	/* It is harmless before there is a vCPU to kick, too. */
	vcpu_install_kick_handler();
	sigaction(SIGTERM, &stop, NULL);
	if (!signal_is_ignored(SIGINT))
		sigaction(SIGINT, &stop, NULL);
}

/* ---- the log and metrics ---- */

static int add_text(json_t *body, const char *name, const char *text)
{
	return text == NULL ? 0 : json_object_set_new(body, name, json_from_text(text));
}

static int add_true(json_t *body, const char *name, bool is_true)
{
	return is_true ? json_object_set_new(body, name, json_true()) : 0;
}

/* The flags as the body of a request: so they are checked as that is. */
static json_t *logger_body(const struct server_options *options)
{
	json_t *body = json_object();

	if (add_text(body, "log_path", options->log_path) == 0 &&
	    add_text(body, "level", options->log_level) == 0 &&
	    add_text(body, "module", options->log_module) == 0 &&
	    add_true(body, "show_level", options->show_log_level) == 0 &&
	    add_true(body, "show_log_origin", options->show_log_origin) == 0)
		return body;
	json_decref(body);
	return NULL;
}

static int set_up_logger(const struct server_options *options, struct microvm *microvm,
			 struct err *err)
{
	struct config_logger logger = { 0 };
	json_t *body = logger_body(options);
	int ret = body == NULL ? err_set(err, -ENOMEM, "no memory for the log's settings")
			       : logger_from_json(&logger, body, err);

	json_decref(body);
	if (ret == -EINVAL)
		return EXIT_STATUS_BAD_ARGUMENTS;
	if (ret == 0)
		ret = microvm_put_logger(microvm, &logger, err);
	return ret == 0 ? 0 : EXIT_STATUS_ERROR;
}

static int set_up_metrics(const struct server_options *options, struct microvm *microvm,
			  struct err *err)
{
	struct config_metrics config = { 0 };

	if (options->metrics_path == NULL)
		return 0;
	if (vm_config_set_string(&config.path, options->metrics_path, err) != 0 ||
	    microvm_put_metrics(microvm, &config, err) != 0)
		return EXIT_STATUS_ERROR;
	return 0;
}

static uint64_t since_us(clockid_t clock, uint64_t start_us)
{
	uint64_t now_us = clock_ns(clock) / NS_PER_US;

	return now_us > start_us ? now_us - start_us : 0;
}

/* How long it took from where a jailer began. */
static void store_startup_times(const struct server_options *options)
{
	if (options->has_start_time)
		metrics_store(&metrics.api_server.process_startup_time_us,
			      since_us(CLOCK_MONOTONIC, options->start_time_us));
	if (options->has_start_time_cpu)
		metrics_store(&metrics.api_server.process_startup_time_cpu_us,
			      since_us(CLOCK_PROCESS_CPUTIME_ID, options->start_time_cpu_us) +
				      options->parent_cpu_time_us);
}

/* ---- starting ---- */

static int load_metadata(const char *path, struct microvm *microvm, struct err *err)
{
	if (path == NULL)
		return 0;
	if (mmds_load_file(microvm_get_mmds(microvm), path, err) != 0) {
		err_prefix(err, "--metadata");
		return EXIT_STATUS_ERROR;
	}
	log_info("Successfully added metadata to mmds from file");
	return 0;
}

static int start_machine(const char *path, struct microvm *microvm, struct err *err)
{
	struct json_notes notes = { 0 };
	enum vm_fault fault = VM_FAULT_CONFIG;
	int ret;

	if (path == NULL)
		return 0;
	ret = microvm_load_file(microvm, path, &notes, err);
	if (ret == 0)
		ret = microvm_start(microvm, &fault, err);
	if (ret != 0) {
		err_prefix(err, "Configuration for VMM from one single json failed");
		return fault == VM_FAULT_CONFIG ? EXIT_STATUS_BAD_CONFIG : EXIT_STATUS_ERROR;
	}
	log_info("Successfully started microvm that was configured from one single json");
	return 0;
}

static int start(const struct server_options *options, struct session *session, struct err *err)
{
	struct api_options api = { .path = options->sock, .max_payload = options->max_payload };
	int status = set_up_metrics(options, session->microvm, err);

	if (status == 0)
		status = load_metadata(options->metadata_path, session->microvm, err);
	if (status == 0 && !options->has_no_api && session_listen(session, &api, err) != 0)
		status = EXIT_STATUS_ERROR;
	if (status == 0)
		status = start_machine(options->config_path, session->microvm, err);
	return status;
}

static int set_up(const struct server_options *options, struct session *session, struct err *err)
{
	const struct session_options session_options = {
		.id = options->id,
		.has_boot_timer = options->has_boot_timer,
		.mmds_limit = options->mmds_limit,
	};
	int status;

	if (session_init(session, &session_options, err) != 0)
		return EXIT_STATUS_ERROR;
	status = set_up_logger(options, session->microvm, err);
	if (status != 0)
		return status;
	log_info("Running Firecracker v%s", FIRECRACKER_VERSION);
	store_startup_times(options);
	return start(options, session, err);
}

/* ---- running ---- */

static int serve(struct session *session, struct err *err)
{
	const enum vm_end *end = &session->loop.end;

	if (loop_run(&session->loop, err) != 0)
		return EXIT_STATUS_ERROR;
	/* The numbers are KVM's: of a shutdown, and of a reset. */
	if (*end == VM_END_SHUTDOWN || *end == VM_END_REBOOT)
		log_info("Received KVM_SYSTEM_EVENT: type: %d, event: [0]",
			 *end == VM_END_SHUTDOWN ? 1 : 2);
	log_info("Vmm is stopping.");
	session_close(session);
	return loop_report(&session->loop);
}

static int run(const struct server_options *options)
{
	struct session session;
	struct err err = { 0 };
	int status = set_up(options, &session, &err);

	if (status == 0)
		status = serve(&session, &err);
	if (err.code != 0)
		log_error("%s", err.text);
	session_deinit(&session);
	if (status == 0)
		log_info("Firecracker exiting successfully. exit_code=0");
	else
		log_error("Firecracker exiting with error. exit_code=%d", status);
	return status;
}

int cli_show_version(const char *program)
{
	const char *text = cli_is_firecracker(program) ? "Firecracker v" FIRECRACKER_VERSION "\n\n"
						       : "televm " TELEVM_VERSION "\n";

	return write_all(STDOUT_FILENO, text, strlen(text)) == 0 ? EXIT_STATUS_OK
								 : EXIT_STATUS_ERROR;
}

int cli_server(int argc, char **argv)
{
	struct server_options options;
	struct err err = { 0 };
	int ret = server_options_parse(&options, argc - 1, argv + 1, &err);

	if (ret > 0)
		return cli_server_help();
	if (ret < 0) {
		log_error("%s", err.text);
		log_info("'televm help api' lists the flags");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	if (options.wants_version)
		return cli_show_version(argv[0]);
	prctl(PR_SET_NAME, "firecracker");
	/* Now, since nothing is opened once the process has locked itself in. */
	json_object_seed(0);
	log_use_firecracker_format(options.id);
	take_signals();
	return run(&options);
}
