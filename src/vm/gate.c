#include "vm/gate.h"

void gate_init(struct gate *gate)
{
	*gate = (struct gate){ .n_threads = 0 };
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->opened, NULL);
	pthread_cond_init(&gate->arrived, NULL);
}

void gate_deinit(struct gate *gate)
{
	pthread_cond_destroy(&gate->arrived);
	pthread_cond_destroy(&gate->opened);
	pthread_mutex_destroy(&gate->lock);
}

void gate_add(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->n_threads++;
	pthread_mutex_unlock(&gate->lock);
}

void gate_remove(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->n_threads--;
	pthread_cond_signal(&gate->arrived);
	pthread_mutex_unlock(&gate->lock);
}

void gate_wait(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->n_waiting++;
	pthread_cond_signal(&gate->arrived);
	while (gate->is_closed)
		pthread_cond_wait(&gate->opened, &gate->lock);
	gate->n_waiting--;
	pthread_mutex_unlock(&gate->lock);
}

void gate_close(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->is_closed = true;
	pthread_mutex_unlock(&gate->lock);
}

void gate_wait_for_all(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	while (gate->n_waiting < gate->n_threads)
		pthread_cond_wait(&gate->arrived, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

void gate_open(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->is_closed = false;
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
}
