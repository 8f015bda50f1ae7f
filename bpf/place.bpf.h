/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A task's place in sl_connects: the second memory of whose it is, by the address of the kernel's task. */
#ifndef SLUICE_PLACE_BPF_H
#define SLUICE_PLACE_BPF_H

#include "maps.bpf.h"
#include "storage.bpf.h"
#include "task.bpf.h"

static __always_inline struct sl_pending_connect *place_at(__u64 task_address)
{
	return bpf_map_lookup_elem(&sl_connects, &task_address);
}

/* False for what an earlier task at this address left behind. */
static __always_inline bool is_place_of(const struct sl_pending_connect *place, struct task_struct *task)
{
	return place && place->sandbox && place->start_ns == process_start(task);
}

/* Gives the task at this address its place, with no connect in flight. True if it has it. */
static __always_inline bool store_place(__u64 task_address, __u64 sandbox, __u64 start_ns, __u32 exec_count)
{
	struct sl_pending_connect place = {.sandbox = sandbox, .start_ns = start_ns, .exec_count = exec_count};

	return !bpf_map_update_elem(&sl_connects, &task_address, &place, BPF_ANY);
}

#endif
