/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a thread read from its standard input in small pieces, until it is told: a shell takes its commands from a pipe one byte at a time,
 * and an editor of lines takes them from a terminal so. Bounded by the thread's own storage; nothing of it is lost, because it is told
 * when a line ends, when it is full, before what was read can be acted on (fork, exec), at the thread's end, and by a sweep of user space.
 */
#ifndef SLUICE_INPUT_BPF_H
#define SLUICE_INPUT_BPF_H

#include "emit.bpf.h"

#define INPUT_KEPT_MAX 2048 /* bytes of a line in pieces */

/* The record as it is told, and its text. With its storage header less than a page. */
struct input {
	__u32 busy; /* by the thread, or by the sweep; nobody waits for it */
	__u32 pad;
	__u64 first_ns; /* of what is not told yet */
	__u64 told; /* bytes of text that this image told, up to a limit */
	struct sl_stdin rec;
	__u8 text[INPUT_KEPT_MAX]; /* as rec.data */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct input);
} sl_inputs SEC(".maps");

static __always_inline bool input_take(struct input *input)
{
	return !__sync_lock_test_and_set(&input->busy, 1);
}

static __always_inline void input_give_back(struct input *input)
{
	__sync_lock_test_and_set(&input->busy, 0);
}

/* Tells what is kept in storage that the caller has taken. A global function: the verifier goes through it once. */
__noinline int input_tell(struct input *input)
{
	struct sl_counters *count = counters();
	struct sl_share *share;
	__u32 len;
	__u32 size;

	if (!input || !count || !input->rec.bytes)
		return 0;
	len = input->rec.text_len;
	barrier_var(len);
	if (len > INPUT_KEPT_MAX)
		return 0;
	size = sizeof(input->rec) + len;
	input->rec.hdr.size = size;
	input->rec.hdr.cpu = bpf_get_smp_processor_id();
	input->rec.hdr.cpu_seq = count_attempt(count, SL_KIND_STDIN);
	input->rec.hdr.time_ns = bpf_ktime_get_boot_ns();
	share = share_of(input->rec.hdr.sandbox);
	OUTPUT(share, SL_KIND_STDIN, &sl_ring_bulk, SL_RING_BULK, &input->rec, size, 1);
	input->rec.bytes = 0;
	input->rec.text_len = 0;
	input->rec.flags = 0;
	return 0;
}

static __always_inline void input_tell_of(struct task_struct *task)
{
	struct input *input = bpf_task_storage_get(&sl_inputs, task, 0, 0);

	/* Busy: the other side is telling it. */
	if (!input || !input->rec.bytes || !input_take(input))
		return;
	input_tell(input);
	input_give_back(input);
}

#endif
