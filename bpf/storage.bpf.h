/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Storage of a task that more than one may want to make at the same moment. */
#ifndef SLUICE_STORAGE_BPF_H
#define SLUICE_STORAGE_BPF_H

#include <bpf/bpf_helpers.h>

#define MADE(map, task) bpf_task_storage_get(map, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE)

/*
 * The task's value in `map`, made if it has none. Of two that make a task's first one (its parent forks it, and a walk finds it) the kernel
 * fails one: with -EAGAIN where the task had nothing in any map, and then with -EEXIST where it had nothing in this one
 * (bpf_local_storage_update in kernel/bpf/bpf_local_storage.c). At the third time it is there. NULL: there is no memory.
 */
#define storage_of(map, task)                     \
	({                                        \
		void *_value = MADE(map, task);   \
                                                  \
		if (!_value)                      \
			_value = MADE(map, task); \
		if (!_value)                      \
			_value = MADE(map, task); \
		_value;                           \
	})

#endif
