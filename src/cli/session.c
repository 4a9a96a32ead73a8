#include "cli/session.h"

#include "api/microvm.h"
#include "api/server.h"
#include "util/cleanup.h"
#include "util/metrics.h"

int session_init(struct session *session, const struct session_options *options, struct err *err)
{
	struct microvm_options microvm = {
		.id = options->id,
		.has_boot_timer = options->has_boot_timer,
		.mmds_limit = options->mmds_limit,
	};
	int ret;

	*session = (struct session){ 0 };
	ret = loop_init(&session->loop, err);
	if (ret != 0)
		return ret;
	microvm.base = session->loop.base;
	microvm.ended = session->loop.env.ended;
	microvm.ctx = session->loop.env.ctx;
	return microvm_new(&session->microvm, &microvm, err);
}

int session_listen(struct session *session, struct api_options *options, struct err *err)
{
	options->base = session->loop.base;
	return api_server_new(&session->api, options, session->microvm, err);
}

void session_close(struct session *session)
{
	struct vm *vm = session->microvm == NULL ? NULL : microvm_get_vm(session->microvm);

	if (vm != NULL)
		vm_close(vm);
	/* While the devices are still there to be counted. */
	metrics_close();
}

void session_deinit(struct session *session)
{
	session_close(session);
	api_server_free(take_ptr(session->api));
	microvm_free(take_ptr(session->microvm));
	loop_deinit(&session->loop);
}
