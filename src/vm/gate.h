/*
 * A gate that threads pass on each of their rounds: closed, it holds them where they can wait, and
 * tells whoever closed it when all are there. This is how vCPUs are paused.
 *
 *	round:  if (gate_is_closed(gate))		gate_close(gate);
 *			gate_wait(gate);		make the threads come round
 *						gate_wait_for_all(gate);
 *
 * A thread that ends counts as one that waits, so nobody waits for it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	pthread_cond_t arrived;
	_Atomic bool is_closed; /**< written under the lock */
	unsigned int n_threads; /**< under the lock, as all below */
	unsigned int n_waiting;
};

void gate_init(struct gate *gate);

/** When no thread uses it any more. */
void gate_deinit(struct gate *gate);

/** One more thread will pass. By whoever starts it, before it runs. */
void gate_add(struct gate *gate);

/** It has ended, or was not started after all. */
void gate_remove(struct gate *gate);

/** Is a thread to wait? One load. */
static inline bool gate_is_closed(const struct gate *gate)
{
	return atomic_load(&gate->is_closed);
}

/** Wait while it is closed. */
void gate_wait(struct gate *gate);

/** From now on threads have to wait. */
void gate_close(struct gate *gate);

/** Wait until all do. Nobody may open it meanwhile. */
void gate_wait_for_all(struct gate *gate);

/** Let all go on. */
void gate_open(struct gate *gate);
