#include "cli/loop.h"

#include "config/exit_status.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "util/log.h"
#include "vm/fatal_signals.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

static struct event_base *new_base(void)
{
	struct event_config *options = event_config_new();
	struct event_base *base = NULL;

	if (options == NULL)
		return NULL;
	/* One thread runs it, and neither environment variables nor locks are wanted. */
	event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(options);
	event_config_free(options);
	return base;
}

static void on_ended(void *ctx, enum vm_end end)
{
	struct loop *loop = ctx;

	loop->end = end;
	event_base_loopbreak(loop->base);
}

int loop_init(struct loop *loop, struct err *err)
{
	*loop = (struct loop){ .signal_fd = -1, .base = new_base() };
	if (loop->base == NULL)
		return err_set(err, -ENOMEM, "create the event loop");
	loop->env = (struct vm_env){ .base = loop->base, .ended = on_ended, .ctx = loop };
	return 0;
}

void loop_deinit(struct loop *loop)
{
	if (loop->base == NULL)
		return;
	free_event(&loop->signal_event);
	close_fd(&loop->signal_fd);
	event_base_free(loop->base);
	loop->base = NULL;
}

static void on_signal(evutil_socket_t fd, short what, void *ctx)
{
	struct loop *loop = ctx;
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	loop->signal = (int)info.ssi_signo;
	vm_stop(loop->vm);
}

/*
 * vCPU threads inherit the mask. It stays until the process ends: one more signal, while the status
 * of the first is on its way, must not take its place.
 */
int loop_catch_signals(struct loop *loop, struct vm *vm, struct err *err)
{
	sigset_t set;

	loop->vm = vm;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	/* A script's shell has it ignored for what it runs in the background. */
	if (!signal_is_ignored(SIGINT))
		sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return err_sys(err, "create a signalfd");
	loop->signal_event =
		event_new(loop->base, loop->signal_fd, EV_READ | EV_PERSIST, on_signal, loop);
	if (loop->signal_event == NULL || event_add(loop->signal_event, NULL) != 0)
		return err_set(err, -ENOMEM, "no memory for the event loop");
	return 0;
}

int loop_run(struct loop *loop, struct err *err)
{
	if (event_base_dispatch(loop->base) < 0)
		return err_set(err, -EIO, "the event loop failed");
	return 0;
}

static const char *describe(const struct loop *loop)
{
	switch (loop->end) {
	case VM_END_SHUTDOWN:
		return "the guest shut down";
	case VM_END_REBOOT:
		return "the guest asked for a reboot";
	case VM_END_PANIC:
		return "the guest's kernel panicked";
	case VM_END_STOPPED:
		return loop->signal == 0 ? "its user left" : strsignal(loop->signal);
	default:
		return "it cannot go on";
	}
}

int loop_report(const struct loop *loop)
{
	log_info("VM ended: %s", describe(loop));
	switch (loop->end) {
	case VM_END_SHUTDOWN:
	case VM_END_REBOOT:
		return EXIT_STATUS_OK;
	case VM_END_PANIC:
		return EXIT_STATUS_PANIC;
	case VM_END_VCPU_ERROR:
		return EXIT_STATUS_VCPU_ERROR;
	case VM_END_STOPPED:
		return loop->signal == 0 ? EXIT_STATUS_OK : EXIT_STATUS_SIGNAL + loop->signal;
	case VM_END_NONE:
		break;
	}
	return EXIT_STATUS_ERROR;
}
