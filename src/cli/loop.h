/*
 * The loop of a process that runs a machine, until that has ended.
 *
 *	loop_init(&loop, &err);
 *	vm_new(…, &loop.env, …); vm_start(vm, &err);
 *	loop_run(&loop, &err);
 *	vm_close(vm);
 *	status = loop_report(&loop);
 */
#pragma once

#include "util/err.h"
#include "vm/vm.h"

struct event;
struct event_base;

struct loop {
	struct event_base *base;
	struct vm_env env; /**< for vm_new(): the end of the machine ends the loop */
	enum vm_end end;
	int signal; /**< that stopped the machine, 0 if none did */

	/* Of loop_catch_signals(). */
	int signal_fd;
	struct event *signal_event;
	struct vm *vm;
};

__attribute__((warn_unused_result)) int loop_init(struct loop *loop, struct err *err);

/** Legal on a zeroed object after loop_init() failed, and twice. */
void loop_deinit(struct loop *loop);

/**
 * Have SIGTERM and SIGINT stop \p vm in order; without this they end the process. Before the vCPUs'
 * threads are started.
 * \param vm borrowed while the loop runs
 */
__attribute__((warn_unused_result)) int loop_catch_signals(struct loop *loop, struct vm *vm,
							   struct err *err);

/** Serve until the machine has ended. \return 0 or a negative errno with a sentence */
__attribute__((warn_unused_result)) int loop_run(struct loop *loop, struct err *err);

/** Log how the machine ended. \return the exit status for it */
int loop_report(const struct loop *loop);
