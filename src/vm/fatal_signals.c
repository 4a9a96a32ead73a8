#include "vm/fatal_signals.h"

#include "backend/terminal.h"
#include "config/exit_status.h"
#include "mem/guest_mem.h"
#include "util/bits.h"
#include "vm/boot.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Where Firecracker has no status for a signal, the process dies of it, as if nobody had caught it.
 */
enum { DIE_OF_IT = -1 };

static const struct {
	int signal;
	int status;
} fatal[] = {
	{ SIGSYS, EXIT_STATUS_SIGSYS },
	{ SIGBUS, EXIT_STATUS_SIGBUS },
	{ SIGSEGV, EXIT_STATUS_SIGSEGV },
	{ SIGXFSZ, EXIT_STATUS_SIGXFSZ },
	{ SIGXCPU, EXIT_STATUS_SIGXCPU },
	{ SIGHUP, EXIT_STATUS_SIGHUP },
	{ SIGILL, EXIT_STATUS_SIGILL },
	{ SIGABRT, DIE_OF_IT },
	{ SIGFPE, DIE_OF_IT },
	{ SIGTRAP, DIE_OF_IT },
	{ SIGQUIT, DIE_OF_IT },
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
	/* Nobody is left to be told that even this failed. */
	if (write(STDERR_FILENO, line.text, line.len) < 0)
		line.len = 0;
	end_process(signo);
}

void fatal_signals_install(const struct boot *boot, const struct guest_mem *mem)
{
	struct sigaction action = { .sa_sigaction = on_fatal_signal, .sa_flags = SA_SIGINFO };

	known.boot = boot;
	known.mem = mem;
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i].signal, &action, NULL);
}

void fatal_signals_forget(void)
{
	known.boot = NULL;
	known.mem = NULL;
}
