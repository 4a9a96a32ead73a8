#include "cli/cli.h"

#include "api/microvm.h"
#include "api/server.h"
#include "cli/help.h"
#include "cli/loop.h"
#include "cli/run_flags.h"
#include "cli/server_flags.h"
#include "cli/session.h"
#include "config/config_json.h"
#include "config/exit_status.h"
#include "util/log.h"
#include "vm/fatal_signals.h"
#include "vm/vm.h"

#include <stdio.h>

static int show_help(void)
{
	return cli_print_help(
		"Usage: televm run --kernel FILE [FLAG...]\n"
		"\n"
		"Run a virtual machine with its console on this terminal.\n"
		"\n",
		run_flags,
		"\n"
		"Keys: Ctrl-a x ends the virtual machine, Ctrl-a c shows the keys.\n"
		"\n"
		"Examples:\n"
		"  televm run --kernel Image --initrd initramfs.cpio\n"
		"  televm run --kernel Image --initrd initramfs.cpio --cpus 4 --memory 1G \\\n"
		"             --append 'quiet init=/bin/sh'\n"
		"  televm run --kernel Image --disk rootfs.ext4 --net user\n"
		"  televm run --kernel /boot/vmlinux-6.12.0-riscv64 --initrd /boot/initrd.img \\\n"
		"             --console off\n"
		"\n"
		"Exit status: 0 the guest shut down or rebooted, or you left; 3 it panicked;\n"
		"4 a vCPU failed; 152 bad configuration; 153 bad arguments. See televm-run(1).\n");
}

static int fail(const struct err *err, int status)
{
	log_error("%s", err->text);
	return status;
}

static int serve(struct loop *loop, struct vm *vm, struct err *err)
{
	int ret;

	fatal_signals_install();
	ret = loop_catch_signals(loop, vm, err);
	if (ret == 0)
		ret = vm_start(vm, err);
	if (ret == 0)
		ret = loop_run(loop, err);
	vm_close(vm);
	return ret;
}

static int run_machine(struct loop *loop, const struct vm_config *config)
{
	enum vm_fault fault = VM_FAULT_HOST;
	struct vm *vm = NULL;
	struct err err = { 0 };
	int ret;

	if (vm_new(&vm, config, NULL, &loop->env, &fault, &err) != 0)
		return fail(&err,
			    fault == VM_FAULT_CONFIG ? EXIT_STATUS_BAD_CONFIG : EXIT_STATUS_ERROR);
	ret = serve(loop, vm, &err);
	vm_free(vm);
	return ret == 0 ? loop_report(loop) : fail(&err, EXIT_STATUS_ERROR);
}

/* ---- with an API, so that `televm ctl` can steer it ---- */

static int start_session(struct session *session, struct run_options *options, enum vm_fault *fault,
			 struct err *err)
{
	const struct session_options session_options = { .id = "anonymous-instance" };
	/* The log is where the guest's console is. */
	struct api_options api = { .path = options->api_sock, .is_quiet = true };
	int ret = session_init(session, &session_options, err);

	options->config.has_power_key = true;
	if (ret == 0)
		ret = microvm_put_config(session->microvm, &options->config, err);
	if (ret == 0)
		ret = session_listen(session, &api, err);
	/* The vCPUs' threads inherit what is blocked. */
	if (ret == 0)
		ret = loop_catch_signals(&session->loop, NULL, err);
	if (ret == 0)
		ret = microvm_start(session->microvm, fault, err);
	if (ret == 0)
		session->loop.vm = microvm_get_vm(session->microvm);
	return ret;
}

static int run_with_api(struct run_options *options)
{
	enum vm_fault fault = VM_FAULT_HOST;
	struct session session;
	struct err err = { 0 };
	int ret;
	int status;

	json_object_seed(0);
	fatal_signals_install();
	ret = start_session(&session, options, &fault, &err);
	if (ret == 0)
		ret = loop_run(&session.loop, &err);
	session_close(&session);
	if (ret == 0)
		status = loop_report(&session.loop);
	else
		status = fail(&err, fault == VM_FAULT_CONFIG ? EXIT_STATUS_BAD_CONFIG
							     : EXIT_STATUS_ERROR);
	session_deinit(&session);
	return status;
}

/* ---- without ---- */

static int run_config(const struct vm_config *config)
{
	struct err err = { 0 };
	struct loop loop;
	int status;

	if (loop_init(&loop, &err) != 0)
		return fail(&err, EXIT_STATUS_ERROR);
	status = run_machine(&loop, config);
	loop_deinit(&loop);
	return status;
}

bool cli_is_utf8(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		json_t *string = json_string(argv[i]);

		if (string == NULL)
			return false;
		json_decref(string);
	}
	return true;
}

static int print_config(const struct vm_config *config)
{
	json_t *object = vm_config_to_json(config);
	int ret = object == NULL ? -1 : json_dumpf(object, stdout, JSON_COMPACT);

	json_decref(object);
	if (ret != 0 || puts("") == EOF || fflush(stdout) != 0) {
		log_error("the configuration cannot be printed");
		return EXIT_STATUS_ERROR;
	}
	return EXIT_STATUS_OK;
}

static int parse_and_run(int argc, char **argv, struct run_options *options)
{
	struct vm_config *config = &options->config;
	struct err err = { 0 };
	int ret = cli_parse_run(argc, argv, options, &err);

	if (ret > 0)
		return show_help();
	if (ret < 0) {
		log_error("%s", err.text);
		cli_hint_at_flags(run_flags, server_flags, "'televm' without 'run'", argc, argv);
		log_info("'televm run --help' lists the flags");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	log_set_level(config->logger.level);
	if (vm_config_complete(config, &err) != 0)
		return fail(&err, EXIT_STATUS_BAD_CONFIG);
	if (!options->prints_config)
		return options->api_sock == NULL ? run_config(config) : run_with_api(options);
	if (!cli_is_utf8(argc, argv)) {
		log_error("--print-config: an argument is not UTF-8, and JSON has no other text");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	return print_config(config);
}

int cli_run(int argc, char **argv)
{
	struct run_options options = { 0 };
	int status;

	vm_config_init(&options.config);
	status = parse_and_run(argc, argv, &options);
	vm_config_deinit(&options.config);
	return status;
}
