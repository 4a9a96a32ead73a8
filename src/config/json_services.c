/* Bodies about the process and its services: the log, metrics, the metadata service. */
#include "config/config_json.h"
#include "config/json_fields.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- /logger ---- */

/* Rows of the fields that take the place of what was there. */
enum { LOGGER_PATH, LOGGER_LEVEL, LOGGER_SHOW_LEVEL, LOGGER_SHOW_ORIGIN, LOGGER_MODULE };

static const char *const level_words[] = {
	"Off", "Trace", "Debug", "Info", "Warn", "Warning", "Error",
};

static const enum log_level levels[] = {
	LOG_OFF, LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_WARN, LOG_ERROR,
};
static_assert(ARRAY_SIZE(level_words) == ARRAY_SIZE(levels), "a level for each");

/* Any case is right. */
static int read_level(const struct json_field *field, void *at, const json_t *value,
		      struct err *err)
{
	const char *name;
	int ret = json_get_text(value, &name, err);

	if (ret != 0)
		return ret;
	for (unsigned int i = 0; i < field->n_names; i++) {
		if (strcasecmp(field->names[i], name) == 0) {
			*(enum log_level *)at = levels[i];
			return 0;
		}
	}
	return json_refuse_choice(field, name, err);
}

static void replace_text(char **to, char **from)
{
	free(*to);
	*to = take_ptr(*from);
}

static void update_logger(struct config_logger *logger, struct config_logger *from, uint32_t seen)
{
	if ((seen & BIT(LOGGER_PATH)) != 0)
		replace_text(&logger->path, &from->path);
	if ((seen & BIT(LOGGER_MODULE)) != 0)
		replace_text(&logger->module, &from->module);
	if ((seen & BIT(LOGGER_LEVEL)) != 0) {
		logger->level = from->level;
		logger->has_level = true;
	}
	if ((seen & BIT(LOGGER_SHOW_LEVEL)) != 0)
		logger->show_level = from->show_level;
	if ((seen & BIT(LOGGER_SHOW_ORIGIN)) != 0)
		logger->show_origin = from->show_origin;
}

int logger_from_json(struct config_logger *logger, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		[LOGGER_PATH] = { .name = "log_path",
				  .read = json_read_text,
				  JSON_AT(struct config_logger, path) },
		[LOGGER_LEVEL] = { .name = "level",
				   .read = read_level,
				   JSON_AT(struct config_logger, level),
				   JSON_NAMES(level_words) },
		[LOGGER_SHOW_LEVEL] = { .name = "show_level",
					.read = json_read_bool,
					JSON_AT(struct config_logger, show_level) },
		[LOGGER_SHOW_ORIGIN] = { .name = "show_log_origin",
					 .read = json_read_bool,
					 JSON_AT(struct config_logger, show_origin) },
		[LOGGER_MODULE] = { .name = "module",
				    .read = json_read_text,
				    JSON_AT(struct config_logger, module) },
		{ 0 },
	};
	struct config_logger parsed = { 0 };
	uint32_t seen = 0;
	int ret = json_read_object(fields, FIELDS_STRICT, &parsed, body, &seen, err);

	if (ret == 0)
		update_logger(logger, &parsed, seen);
	config_logger_deinit(&parsed);
	return ret;
}

/* ---- /metrics ---- */

static int add_property(struct config_metrics *part, const char *name, const json_t *value,
			struct err *err)
{
	struct config_property *property = &part->properties[part->n_properties];
	const char *text;
	int ret = json_get_text(value, &text, err);

	if (ret != 0) {
		err_prefix(err, "%.*s", json_cut(name, CONFIG_ID_MAX), name);
		return ret;
	}
	if (part->n_properties == CONFIG_PROPERTIES_MAX)
		return err_set(err, -EINVAL, "more than %d", CONFIG_PROPERTIES_MAX);
	part->n_properties++;
	ret = vm_config_set_string(&property->name, name, err);
	return ret != 0 ? ret : vm_config_set_string(&property->value, text, err);
}

static int read_properties(const struct json_field *field, void *at, const json_t *value,
			   struct err *err)
{
	const char *name;
	json_t *item;
	int ret = 0;

	(void)field;
	if (!json_is_object(value))
		return json_refuse_type(value, "a map", err);
	json_object_foreach(json_iterable(value), name, item)
	{
		ret = add_property(at, name, item, err);
		if (ret != 0)
			break;
	}
	return ret;
}

int metrics_from_json(struct config_metrics *part, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "metrics_path",
		  .read = json_read_text,
		  JSON_AT(struct config_metrics, path),
		  .is_required = true },
		{ .name = "emit_id",
		  .read = json_read_bool,
		  JSON_AT(struct config_metrics, emit_id) },
		{ .name = "properties", .read = read_properties },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_OPEN, part, body, NULL, err);

	if (ret != 0)
		config_metrics_deinit(part);
	return ret;
}

/* ---- /mmds/config ---- */

enum { MMDS_IPV4_DEFAULT = 169U << 24 | 254 << 16 | 169 << 8 | 254 };

static const char *const version_names[] = { "V1", "V2" };

static int read_nets(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	struct config_mmds *mmds = at;
	size_t i;
	json_t *item;

	if (!json_is_array(value))
		return json_refuse_type(value, "a sequence", err);
	if (json_array_size(value) > CONFIG_NETS_MAX)
		return err_set(err, -EINVAL, "%zu ids are too many, %d at most",
			       json_array_size(value), CONFIG_NETS_MAX);
	json_array_foreach(value, i, item)
	{
		int ret = json_read_text(field, &mmds->nets[i], item, err);

		if (ret != 0)
			return ret;
		mmds->n_nets++;
	}
	return 0;
}

static int read_ipv4(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	struct in_addr address;
	const char *text;
	int ret = json_get_text(value, &text, err);

	(void)field;
	if (ret != 0)
		return ret;
	if (inet_pton(AF_INET, text, &address) != 1)
		return err_set(err, -EINVAL, "invalid IPv4 address syntax");
	*(uint32_t *)at = ntohl(address.s_addr);
	return 0;
}

int mmds_from_json(struct config_mmds *mmds, const json_t *body, struct json_notes *notes,
		   struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "version",
		  .read = json_read_choice,
		  JSON_AT(struct config_mmds, version),
		  JSON_NAMES(version_names) },
		{ .name = "network_interfaces", .read = read_nets, .is_required = true },
		{ .name = "ipv4_address", .read = read_ipv4, JSON_AT(struct config_mmds, ipv4) },
		{ .name = "imds_compat",
		  .read = json_read_bool,
		  JSON_AT(struct config_mmds, imds_compat) },
		{ 0 },
	};
	int ret;

	mmds->ipv4 = MMDS_IPV4_DEFAULT;
	ret = json_read_object(fields, FIELDS_STRICT, mmds, body, NULL, err);
	if (ret != 0) {
		config_mmds_deinit(mmds);
		return ret;
	}
	mmds->version++; /* the first name is V1 */
	mmds->is_set = true;
	if (mmds->version == 1)
		notes->is_deprecated = true;
	return 0;
}
