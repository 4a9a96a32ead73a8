#include "vm/fatal_signals.h"

#include "backend/terminal.h"
#include "config/exit_status.h"
#include "mem/guest_mem.h"
#include "util/bits.h"
#include "vm/boot.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Where Firecracker has no status for a signal, the process dies of it, as if nobody had caught it.
 */
enum { DIE_OF_IT = -1 };

/* With those of real time, all that end a process and that nobody else takes: SIGTERM and SIGINT
 * are the I/O loop's, SIGPIPE is ignored. */
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

/* A line put together with nothing but what a signal handler may use. */
struct line {
	char text[256];
	size_t len;
};

static void add_text(struct line *line, const char *text)
{
	size_t len = MIN(strlen(text), sizeof(line->text) - line->len);

	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void add_number(struct line *line, int number)
{
	char digits[12];
	size_t at = sizeof(digits) - 1;
	unsigned int rest = number < 0 ? 0U - (unsigned int)number : (unsigned int)number;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (number < 0)
		add_text(line, "-");
	add_text(line, digits + at);
}

static void add_cause(struct line *line, const siginfo_t *info)
{
	const struct boot *boot = known.boot;
	const struct guest_mem *mem = known.mem;
	const char *file = NULL;

	if (info->si_signo == SIGBUS && mem != NULL && boot != NULL &&
	    guest_mem_contains_hva(mem, info->si_addr))
		file = boot_cut_file(boot);
	if (file == NULL)
		return;
	add_text(line, " The ");
	add_text(line, file);
	add_text(line, " file was cut short while the guest was using it.");
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

static void write_line(const struct line *line)
{
	struct pollfd pollfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	/* A reader that is stuck must not keep a process that is to end. */
	if (poll(&pollfd, 1, 0) == 0)
		return;
	/* Nobody is left to be told that even this failed. */
	if (write(STDERR_FILENO, line->text, line->len) < 0)
		return;
}

static void on_fatal_signal(int signo, siginfo_t *info, void *context)
{
	struct line line = { .len = 0 };

	(void)context;
	terminal_restore();
	add_text(&line, "televm: error: Shutting down VM after intercepting signal ");
	add_number(&line, signo);
	add_text(&line, ", code ");
	add_number(&line, info->si_code);
	add_text(&line, ".");
	add_cause(&line, info);
	add_text(&line, "\n");
	write_line(&line);
	end_process(signo);
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
