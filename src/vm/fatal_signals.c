#include "vm/fatal_signals.h"

#include "backend/terminal.h"
#include "config/exit_status.h"
#include "mem/guest_mem.h"
#include "util/bits.h"
#include "util/log.h"
#include "util/metrics.h"
#include "util/text.h"
#include "vm/boot.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where Firecracker has no status for a signal, the process dies of it, as if nobody had caught it.
 */
enum { DIE_OF_IT = -1 };

/* With those of real time, all that end a process and that nobody else takes: SIGTERM and SIGINT
 * are the I/O loop's, SIGPIPE is counted and no more. */
static const struct {
	int signal;
	int status;
	bool is_fault; /* of our own code: nobody can want it ignored */
} fatal[] = {
	{ SIGSYS, EXIT_STATUS_SIGSYS, true },
	{ SIGBUS, EXIT_STATUS_SIGBUS, true },
	{ SIGSEGV, EXIT_STATUS_SIGSEGV, true },
	{ SIGXFSZ, EXIT_STATUS_SIGXFSZ, false },
	{ SIGXCPU, EXIT_STATUS_SIGXCPU, false },
	{ SIGHUP, EXIT_STATUS_SIGHUP, false },
	{ SIGILL, EXIT_STATUS_SIGILL, true },
	{ SIGABRT, DIE_OF_IT, true },
	{ SIGFPE, DIE_OF_IT, true },
	{ SIGTRAP, DIE_OF_IT, true },
	{ SIGQUIT, DIE_OF_IT, false },
	{ SIGUSR1, DIE_OF_IT, false },
	{ SIGUSR2, DIE_OF_IT, false },
	{ SIGALRM, DIE_OF_IT, false },
	{ SIGVTALRM, DIE_OF_IT, false },
	{ SIGPROF, DIE_OF_IT, false },
	{ SIGIO, DIE_OF_IT, false },
	{ SIGPWR, DIE_OF_IT, false },
	{ SIGSTKFLT, DIE_OF_IT, false },
};

static struct {
	const struct boot *_Atomic boot;
	const struct guest_mem *_Atomic mem;
} known;

static void add_cause(struct text *text, const siginfo_t *info)
{
	const struct boot *boot = known.boot;
	const struct guest_mem *mem = known.mem;
	const char *file = NULL;

	if (info->si_signo == SIGBUS && mem != NULL && boot != NULL &&
	    guest_mem_contains_hva(mem, info->si_addr))
		file = boot_cut_file(boot);
	if (file == NULL)
		return;
	text_add(text, " The ");
	text_add(text, file);
	text_add(text, " file was cut short while the guest was using it.");
}

static void unblock(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

__attribute__((noreturn)) static void end_process(int signo)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
		if (fatal[i].signal == signo && fatal[i].status != DIE_OF_IT)
			_exit(fatal[i].status);
	}
	signal(signo, SIG_DFL);
	unblock(signo); /* it is blocked while its handler runs */
	raise(signo);
	_exit(EXIT_STATUS_ERROR);
}

/* Firecracker's schema has some of them. Stores, not counters: nobody comes here twice. */
static void count_signal(int signo)
{
	static const struct {
		int signal;
		_Atomic uint64_t *metric;
	} counted[] = {
		{ SIGBUS, &metrics.signals.sigbus },   { SIGSEGV, &metrics.signals.sigsegv },
		{ SIGXFSZ, &metrics.signals.sigxfsz }, { SIGXCPU, &metrics.signals.sigxcpu },
		{ SIGHUP, &metrics.signals.sighup },   { SIGILL, &metrics.signals.sigill },
	};

	for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
		if (counted[i].signal == signo)
			metrics_store(counted[i].metric, 1);
	}
	if (signo == SIGSYS)
		metrics_store(&metrics.seccomp.num_faults, 1);
}

static void log_signal(int signo, const siginfo_t *info)
{
	char bytes[256];
	struct text text = { .bytes = bytes, .size = sizeof(bytes) - 1 };

	text_add(&text, "Shutting down VM after intercepting signal ");
	text_add_number(&text, (uint64_t)signo, 1);
	text_add(&text, info->si_code < 0 ? ", code -" : ", code ");
	text_add_number(&text, (uint64_t)llabs(info->si_code), 1);
	text_add(&text, ".");
	add_cause(&text, info);
	bytes[text.len] = '\0';
	log_write_in_signal(LOG_ERROR, __FILE__, __LINE__, bytes);
}

static void on_fatal_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	terminal_restore();
	count_signal(signo);
	log_signal(signo, info);
	metrics_flush_in_signal();
	end_process(signo);
}

/* A handler, not SIG_IGN, only to count them. Whoever writes sees EPIPE. */
static void on_broken_pipe(int signo)
{
	(void)signo;
	metrics_inc(&metrics.signals.sigpipe);
}

bool signal_is_ignored(int signo)
{
	struct sigaction action;

	return sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void take(int signo, bool is_fault)
{
	struct sigaction action = { .sa_sigaction = on_fatal_signal, .sa_flags = SA_SIGINFO };

	if (is_fault || !signal_is_ignored(signo))
		sigaction(signo, &action, NULL);
}

void fatal_signals_install(void)
{
	struct sigaction broken_pipe = { .sa_handler = on_broken_pipe, .sa_flags = SA_RESTART };

	sigaction(SIGPIPE, &broken_pipe, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		take(fatal[i].signal, fatal[i].is_fault);
	/* One of these is the kick of vCPU threads, whose handler comes later. */
	for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
		take(signo, false);
}

void fatal_signals_know(const struct boot *boot, const struct guest_mem *mem)
{
	known.boot = boot;
	known.mem = mem;
}

void fatal_signals_forget(void)
{
	known.boot = NULL;
	known.mem = NULL;
}
