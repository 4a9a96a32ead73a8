#include "util/metrics.h"

#include "util/bits.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/events.h"
#include "util/io.h"
#include "util/text.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	PERIOD_S = 60,
	/* A reader that has only the beginning of a line shall not wait a minute for the rest. */
	TAIL_PERIOD_S = 1,
	/* All groups and 20 devices with numbers of 20 digits have less than 40 KiB. */
	LINE_MAX_BYTES = 64 * 1024,
	DEVICE_WORDS_MAX = sizeof(struct metrics_net) / sizeof(uint64_t),
	TIMES_WORDS = sizeof(struct metrics_times) / sizeof(uint64_t),
};

static_assert(sizeof(struct metrics_block) <= sizeof(struct metrics_net), "the larger of both");

struct metrics metrics;

/* ---- the schema as data ---- */

/* Keys one behind the other, each with a mark of its kind in front: half the size of a table. */
#define COUNT_(name) "+" #name "\0"
#define STORE_(name) "=" #name "\0"
#define TIMES_(name) "~" #name "\0"

struct group {
	const char *name;
	const char *keys;
	size_t offset; /* in struct metrics */
};

#define GROUP_(name, LIST)        { #name, LIST(COUNT_, STORE_, TIMES_), offsetof(struct metrics, name) },
#define DEVICE_GROUP_(name, LIST) { #name, LIST(COUNT_, STORE_, TIMES_), 0 },

static const struct group groups[] = { METRICS_GROUPS(GROUP_) };

static const struct group device_groups[] = { METRICS_DEVICE_GROUPS(DEVICE_GROUP_) };
enum { GROUP_BLOCK, GROUP_NET };

static enum metrics_kind kind_of(const char *key)
{
	return *key == '+' ? METRICS_COUNTER : *key == '=' ? METRICS_STORED : METRICS_TIMED;
}

static unsigned int n_words(enum metrics_kind kind)
{
	return kind == METRICS_TIMED ? TIMES_WORDS : 1;
}

static const char *next_key(const char *key)
{
	return key + strlen(key) + 1;
}

static enum metrics_kind find_key(const struct group *group, const char *name)
{
	for (const char *key = group->keys; *key != '\0'; key = next_key(key)) {
		if (strcmp(key + 1, name) == 0)
			return kind_of(key);
	}
	return METRICS_NONE;
}

enum metrics_kind metrics_kind_of(const char *group, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (strcmp(groups[i].name, group) == 0)
			return find_key(&groups[i], key);
	}
	for (size_t i = 0; i < ARRAY_SIZE(device_groups); i++) {
		if (strcmp(device_groups[i].name, group) == 0)
			return find_key(&device_groups[i], key);
	}
	return METRICS_NONE;
}

void metrics_add_time(struct metrics_times *times, uint64_t begin_us)
{
	uint64_t us = metrics_now_us() - begin_us;
	uint64_t min_us = metrics_get(&times->min_us);
	uint64_t max_us = metrics_get(&times->max_us);

	metrics_add(&times->sum_us, us);
	while ((min_us == 0 || us < min_us) &&
	       !atomic_compare_exchange_weak(&times->min_us, &min_us, us))
		;
	while (us > max_us && !atomic_compare_exchange_weak(&times->max_us, &max_us, us))
		;
}

/* ---- what was told already ---- */

/* A handler of signals reads these while the I/O thread may be writing them. */
struct words {
	const _Atomic uint64_t *now;
	_Atomic uint64_t *seen; /* by the flush that is under way */
	_Atomic uint64_t *told; /* by those before it */
};

struct device {
	struct device *_Atomic next;
	const struct group *group;
	const void *owner; /* whose the counters are */
	struct words words;
	_Atomic uint64_t seen[DEVICE_WORDS_MAX];
	_Atomic uint64_t told[DEVICE_WORDS_MAX];
	char id[];
};

enum { ALL_WORDS = sizeof(struct metrics) / sizeof(uint64_t) };

static struct {
	_Atomic uint64_t seen[ALL_WORDS];
	_Atomic uint64_t told[ALL_WORDS];
	struct device *_Atomic devices;

	_Atomic int fd;
	char *fixed; /* what each line has of metrics_open(): the id and properties */
	char *line;
	char *last_line; /* the signal handler's */
	/* The rest of a line that was written in part; it goes before all others. */
	_Atomic size_t tail_at;
	_Atomic size_t tail_len;
	struct event *timer;
	struct event *tail_timer;
} state = { .fd = -1 };

static struct words words_of(const struct group *group)
{
	size_t at = group->offset / sizeof(uint64_t);

	return (struct words){
		.now = (const _Atomic uint64_t *)(const void *)&metrics + at,
		.seen = state.seen + at,
		.told = state.told + at,
	};
}

static void copy_words(_Atomic uint64_t *to, const _Atomic uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		metrics_store(&to[i], metrics_get(&from[i]));
}

static size_t device_words(const struct device *device)
{
	size_t bytes = device->group == &device_groups[GROUP_BLOCK] ? sizeof(struct metrics_block)
								    : sizeof(struct metrics_net);

	return bytes / sizeof(uint64_t);
}

static void look(void)
{
	copy_words(state.seen, (const _Atomic uint64_t *)(const void *)&metrics, ALL_WORDS);
	for (struct device *device = state.devices; device != NULL; device = device->next)
		copy_words(device->seen, device->words.now, device_words(device));
}

/* Who writes to another file begins with all there is. */
static void forget_what_was_told(void)
{
	for (size_t i = 0; i < ALL_WORDS; i++)
		metrics_store(&state.told[i], 0);
	for (struct device *device = state.devices; device != NULL; device = device->next) {
		for (size_t i = 0; i < DEVICE_WORDS_MAX; i++)
			metrics_store(&device->told[i], 0);
	}
}

static void take_as_told(void)
{
	copy_words(state.told, state.seen, ALL_WORDS);
	for (struct device *device = state.devices; device != NULL; device = device->next)
		copy_words(device->told, device->seen, device_words(device));
}

/* ---- a line ---- */

enum how {
	SINCE_LAST, /* flush: from told to seen */
	IN_SIGNAL,  /* from told to now: `seen` may be just changing */
	TOTALS,
};

static uint64_t value_of(const struct words *words, unsigned int i, bool is_counter, enum how how)
{
	uint64_t value = metrics_get(how == SINCE_LAST ? &words->seen[i] : &words->now[i]);

	return is_counter && how != TOTALS ? value - metrics_get(&words->told[i]) : value;
}

/* What one key has: of one set of words, or of all devices of a kind together. */
struct source {
	const struct words *words;
	const struct group *devices; /* where words is NULL */
	enum how how;
};

static uint64_t sum_of(const struct source *source, unsigned int i, bool is_counter)
{
	uint64_t sum = 0;

	if (source->words != NULL)
		return value_of(source->words, i, is_counter, source->how);
	/* Of a store there is no sum; Firecracker writes 0. */
	if (!is_counter)
		return 0;
	for (const struct device *device = state.devices; device != NULL; device = device->next) {
		if (device->group == source->devices)
			sum += value_of(&device->words, i, true, source->how);
	}
	return sum;
}

static void add_member(struct text *text, const char *name, uint64_t value)
{
	text_add_json(text, name);
	text_add(text, ":");
	text_add_number(text, value, 1);
}

static void add_times(struct text *text, const struct source *source, unsigned int i)
{
	text_add(text, "{");
	add_member(text, "min_us", sum_of(source, i, false));
	text_add(text, ",");
	add_member(text, "max_us", sum_of(source, i + 1, false));
	text_add(text, ",");
	add_member(text, "sum_us", sum_of(source, i + 2, true));
	text_add(text, "}");
}

static void add_keys(struct text *text, const char *keys, const struct source *source)
{
	unsigned int i = 0;

	for (const char *key = keys; *key != '\0'; key = next_key(key)) {
		enum metrics_kind kind = kind_of(key);

		text_add(text, i == 0 ? "{" : ",");
		text_add_json(text, key + 1);
		text_add(text, ":");
		if (kind == METRICS_TIMED)
			add_times(text, source, i);
		else
			text_add_number(text, sum_of(source, i, kind == METRICS_COUNTER), 1);
		i += n_words(kind);
	}
	text_add(text, "}");
}

static void add_devices(struct text *text, const struct group *group, enum how how)
{
	struct source source = { .how = how };

	for (struct device *device = state.devices; device != NULL; device = device->next) {
		if (device->group != group)
			continue;
		source.words = &device->words;
		text_add(text, ",\"");
		text_add(text, group->name);
		text_add(text, "_");
		text_add(text, device->id);
		text_add(text, "\":");
		add_keys(text, group->keys, &source);
	}
	source = (struct source){ .devices = group, .how = how };
	text_add(text, ",\"");
	text_add(text, group->name);
	text_add(text, "\":");
	add_keys(text, group->keys, &source);
}

static size_t line_size(void)
{
	return LINE_MAX_BYTES + (state.fixed != NULL ? strlen(state.fixed) : 0);
}

static void add_line(struct text *text, enum how how)
{
	text_add(text, "{");
	add_member(text, "utc_timestamp_ms", clock_ns(CLOCK_REALTIME) / NS_PER_MS);
	if (state.fixed != NULL)
		text_add(text, state.fixed);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		const struct words words = words_of(&groups[i]);
		const struct source source = { .words = &words, .how = how };

		text_add(text, ",");
		text_add_json(text, groups[i].name);
		text_add(text, ":");
		add_keys(text, groups[i].keys, &source);
	}
	for (size_t i = 0; i < ARRAY_SIZE(device_groups); i++)
		add_devices(text, &device_groups[i], how);
	text_add(text, "}\n");
}

/* ---- devices ---- */

static int add_device(const struct group *group, const char *id, const void *counters,
		      struct err *err)
{
	struct device *_Atomic *place = &state.devices;
	struct device *device = calloc(1, sizeof(*device) + strlen(id) + 1);

	if (device == NULL)
		return err_set(err, -ENOMEM, "no memory for the metrics of '%s'", id);
	device->group = group;
	device->owner = counters;
	device->words = (struct words){
		.now = counters,
		.seen = device->seen,
		.told = device->told,
	};
	memcpy(device->id, id, strlen(id) + 1);
	while (*place != NULL)
		place = &(*place)->next;
	*place = device;
	return 0;
}

int metrics_add_block(const char *id, struct metrics_block *block, struct err *err)
{
	return add_device(&device_groups[GROUP_BLOCK], id, block, err);
}

int metrics_add_net(const char *id, struct metrics_net *net, struct err *err)
{
	return add_device(&device_groups[GROUP_NET], id, net, err);
}

void metrics_remove(const void *block_or_net)
{
	struct device *_Atomic *place = &state.devices;
	struct device *device;

	while (*place != NULL && (*place)->owner != block_or_net)
		place = &(*place)->next;
	device = *place;
	if (device == NULL)
		return;
	*place = device->next;
	free(device);
}

/* ---- writing ---- */

static ssize_t write_bytes(const char *bytes, size_t len)
{
	ssize_t n;

	do {
		n = write(state.fd, bytes, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* \return 0 when nothing is left of the line that was begun */
static int write_tail(void)
{
	ssize_t n;

	if (state.tail_len == 0)
		return 0;
	n = write_bytes(state.line + state.tail_at, state.tail_len);
	if (n < 0)
		return (int)n;
	state.tail_at += (size_t)n;
	state.tail_len -= (size_t)n;
	return state.tail_len == 0 ? 0 : -EAGAIN;
}

static void finish_tail_later(void)
{
	static const struct timeval soon = { .tv_sec = TAIL_PERIOD_S };

	if (state.tail_timer != NULL && state.tail_len > 0)
		event_add(state.tail_timer, &soon);
}

static void on_tail_timer(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	(void)write_tail();
	finish_tail_later();
}

/* \return 0 once the line has left or is bound to */
static int write_new_line(void)
{
	struct text text = { .bytes = state.line, .size = line_size() };
	ssize_t n;

	look();
	add_line(&text, SINCE_LAST);
	if (text.is_cut) {
		metrics_inc(&metrics.logger.metrics_fails);
		return -EMSGSIZE;
	}
	n = write_bytes(text.bytes, text.len);
	if (n < 0)
		return (int)n;
	state.tail_at = (size_t)n;
	state.tail_len = text.len - (size_t)n;
	take_as_told();
	finish_tail_later();
	return 0;
}

int metrics_flush(struct err *err)
{
	int ret;

	if (state.fd < 0)
		return 0;
	ret = write_tail();
	if (ret == 0)
		ret = write_new_line();
	if (ret == 0)
		return 0;
	metrics_inc(&metrics.logger.missed_metrics_count);
	return err_set(err, ret, "Failed to write metrics: %s", strerror(-ret));
}

void metrics_flush_in_signal(void)
{
	struct text text = { .bytes = state.last_line };

	if (state.fd < 0)
		return;
	text.size = line_size();
	add_line(&text, IN_SIGNAL);
	if (write_tail() == 0 && !text.is_cut)
		(void)write_bytes(text.bytes, text.len);
}

char *metrics_to_json(void)
{
	struct text text = { .bytes = malloc(line_size()), .size = line_size() - 1 };
	char *shrunk;

	if (text.bytes == NULL)
		return NULL;
	add_line(&text, TOTALS);
	text.bytes[text.len] = '\0';
	shrunk = realloc(text.bytes, text.len + 1);
	return shrunk != NULL ? shrunk : text.bytes;
}

/* ---- from start to end ---- */

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	(void)metrics_flush(NULL);
}

static size_t fixed_max(const char *id, const struct metrics_property *properties, unsigned int n)
{
	enum { ESCAPED = 6, AROUND = 32 }; /* bytes that one may become; quotes and names */
	size_t size = AROUND + (id != NULL ? ESCAPED * strlen(id) : 0);

	for (unsigned int i = 0; i < n; i++)
		size += AROUND +
			ESCAPED * (strlen(properties[i].name) + strlen(properties[i].value));
	return size;
}

/* ,"id":"…","properties":{"…":"…"} \return a string, or NULL without memory */
static char *make_fixed(const char *id, const struct metrics_property *properties, unsigned int n)
{
	size_t size = fixed_max(id, properties, n);
	struct text text = { .bytes = malloc(size), .size = size - 1 };

	if (text.bytes == NULL)
		return NULL;
	if (id != NULL) {
		text_add(&text, ",\"id\":");
		text_add_json(&text, id);
	}
	for (unsigned int i = 0; i < n; i++) {
		text_add(&text, i == 0 ? ",\"properties\":{" : ",");
		text_add_json(&text, properties[i].name);
		text_add(&text, ":");
		text_add_json(&text, properties[i].value);
	}
	if (n > 0)
		text_add(&text, "}");
	text.bytes[text.len] = '\0';
	return text.bytes;
}

static void free_lines(void)
{
	free(take_ptr(state.fixed));
	free(take_ptr(state.line));
	free(take_ptr(state.last_line));
}

static bool make_lines(const char *id, const struct metrics_property *properties, unsigned int n)
{
	state.fixed = make_fixed(id, properties, n);
	state.line = malloc(line_size());
	state.last_line = malloc(line_size());
	return state.fixed != NULL && state.line != NULL && state.last_line != NULL;
}

int metrics_open(const char *path, const char *id, const struct metrics_property *properties,
		 unsigned int n_properties, struct err *err)
{
	int fd;

	if (state.fd >= 0)
		return err_set(err, -EALREADY, "Reinitialization of metrics not allowed.");
	fd = open_sink(path, err);
	if (fd < 0)
		return fd;
	if (!make_lines(id, properties, n_properties)) {
		free_lines();
		close(fd);
		return err_set(err, -ENOMEM, "no memory for the metrics");
	}
	state.fd = fd; /* last: the handler of signals looks for it */
	return 0;
}

int metrics_start(struct event_base *base, struct err *err)
{
	static const struct timeval period = { .tv_sec = PERIOD_S };

	if (state.fd < 0)
		return 0;
	state.timer = event_new(base, -1, EV_PERSIST, on_timer, NULL);
	state.tail_timer = evtimer_new(base, on_tail_timer, NULL);
	if (state.timer == NULL || state.tail_timer == NULL || event_add(state.timer, &period) != 0)
		return err_set(err, -ENOMEM, "no memory for the timer of the metrics");
	(void)metrics_flush(NULL);
	return 0;
}

void metrics_close(void)
{
	int fd;

	(void)metrics_flush(NULL);
	forget_what_was_told();
	free_event(&state.timer);
	free_event(&state.tail_timer);
	fd = atomic_exchange(&state.fd, -1);
	close_fd(&fd);
	free_lines();
	state.tail_len = 0;
}
