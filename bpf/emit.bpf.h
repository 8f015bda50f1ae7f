/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a fact to a record in a ring: its header, and the counting that makes every loss exact, of the node and of each sandbox. Whose a
 * task is: identity.bpf.h; who may have room in a ring: share.bpf.h. Nothing is decided here, and no identity depends on a record
 * getting out.
 */
#ifndef SLUICE_EMIT_BPF_H
#define SLUICE_EMIT_BPF_H

#include "share.bpf.h"
#include "task.bpf.h"

#include "policy_abi.h"

#define BULK_SPARE 4096 /* bytes of the bulk ring below which it counts as full */

static __always_inline struct sl_counters *counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sl_counters, &zero);
}

/*
 * Counts the attempt to tell of so many calls and takes its number. The adds are atomic because a program of ours can be preempted by
 * another one on the same CPU, which counts in the same entry.
 */
static __always_inline __u64 count_attempts(struct sl_counters *count, __u32 kind, __u64 happened)
{
	__sync_fetch_and_add(&count->kinds[kind].attempted, happened);
	return __sync_fetch_and_add(&count->seq, 1);
}

static __always_inline __u64 count_attempt(struct sl_counters *count, __u32 kind)
{
	return count_attempts(count, kind, 1);
}

/*
 * Of the node, and of the sandbox where it has a share; the sandbox's come first, so that who reads them second has not less of them.
 * Global functions, as in share.bpf.h.
 */
__noinline int count_submitted(struct sl_share *share, __u32 kind)
{
	struct sl_counters *count = counters();

	if (!count || kind >= SL_KINDS_MAX)
		return 0;
	if (share)
		__sync_fetch_and_add(&share->kinds[kind].submitted, 1);
	__sync_fetch_and_add(&count->kinds[kind].submitted, 1);
	return 0;
}

__noinline int count_dropped_many(struct sl_share *share, __u32 kind, __u64 events)
{
	struct sl_counters *count = counters();

	if (!count || kind >= SL_KINDS_MAX)
		return 0;
	if (share)
		__sync_fetch_and_add(&share->kinds[kind].dropped, events);
	__sync_fetch_and_add(&count->kinds[kind].dropped, events);
	return 0;
}

/* What the record of one call told beyond that. */
__noinline int count_folded(struct sl_share *share, __u32 kind, __u64 more)
{
	struct sl_counters *count = counters();

	if (!count || kind >= SL_KINDS_MAX)
		return 0;
	if (share)
		__sync_fetch_and_add(&share->kinds[kind].folded, more);
	__sync_fetch_and_add(&count->kinds[kind].folded, more);
	return 0;
}

static __always_inline void count_dropped(struct sl_share *share, __u32 kind)
{
	count_dropped_many(share, kind, 1);
}

/* One record, of `bytes`, that is in the ring. */
static __always_inline void count_told(struct sl_share *share, __u32 kind, const __u32 ring, __u32 bytes)
{
	if (ring == SL_RING_PRIORITY)
		put_into_priority_share(share, bytes);
	else
		put_into_bulk_share(share, bytes);
	count_submitted(share, kind);
}

/* What is lost before there is a record of it; `events` is how many it would have told of. */
static __always_inline void count_lost(struct sl_share *share, __u32 kind, __u64 events)
{
	struct sl_counters *count = counters();

	if (count)
		__sync_fetch_and_add(&count->kinds[kind].attempted, events);
	count_dropped_many(share, kind, events);
}

/* `bytes` at `record`, which tells of so many calls as `happened` says, to a ring, if its sandbox may; counts what came of it. */
#define OUTPUT(share, kind, ring_map, ring, record, bytes, happened)                                  \
	({                                                                                            \
		bool told = has_room(share, ring) && !bpf_ringbuf_output(ring_map, record, bytes, 0); \
		if (told)                                                                             \
			count_told(share, kind, ring, bytes);                                         \
		else                                                                                  \
			count_dropped_many(share, kind, happened);                                    \
		if (told && (happened) > 1)                                                           \
			count_folded(share, kind, (happened)-1);                                      \
	})

/*
 * Which ring tells of a connect, a send or a socket. What was refused goes by the other one where the bulk ring has no room, so that nothing else
 * that a sandbox does in great number hides it; but only into the first quarter of that: who did what comes before what was refused.
 * Global functions: the verifier goes through each once.
 */
__noinline int is_bulk_open(struct sl_share *share)
{
	__u64 unread = bpf_ringbuf_query(&sl_ring_bulk, BPF_RB_AVAIL_DATA);

	return has_room_in(share, SL_RING_BULK) && unread + BULK_SPARE <= bpf_ringbuf_query(&sl_ring_bulk, BPF_RB_RING_SIZE);
}

__noinline int is_priority_spare(void)
{
	return bpf_ringbuf_query(&sl_ring_priority, BPF_RB_AVAIL_DATA) <=
	       bpf_ringbuf_query(&sl_ring_priority, BPF_RB_RING_SIZE) / 4;
}

static __always_inline __u32 ring_of_verdict(struct sl_share *share, __u8 verdict)
{
	return verdict == SL_VERDICT_DENY && !is_bulk_open(share) && is_priority_spare() ? SL_RING_PRIORITY : SL_RING_BULK;
}

/* Room for a record without anything behind it, counted; NULL: there is none, which is counted too. */
static __always_inline struct sl_connect *reserve_connect(struct sl_share *share, __u8 verdict)
{
	__u32 ring = ring_of_verdict(share, verdict);
	struct sl_connect *rec;

	if (ring == SL_RING_PRIORITY)
		rec = has_room(share, SL_RING_PRIORITY) ? bpf_ringbuf_reserve(&sl_ring_priority, sizeof(*rec), 0) : NULL;
	else
		rec = has_room(share, SL_RING_BULK) ? bpf_ringbuf_reserve(&sl_ring_bulk, sizeof(*rec), 0) : NULL;
	if (!rec) {
		count_dropped(share, SL_KIND_CONNECT);
		return NULL;
	}
	if (ring == SL_RING_PRIORITY)
		count_told(share, SL_KIND_CONNECT, SL_RING_PRIORITY, sizeof(*rec));
	else
		count_told(share, SL_KIND_CONNECT, SL_RING_BULK, sizeof(*rec));
	return rec;
}

/* OUTPUT of a record with this verdict. */
#define OUTPUT_VERDICT(share, kind, verdict, record, bytes, happened)                                      \
	({                                                                                                 \
		if (ring_of_verdict(share, verdict) == SL_RING_PRIORITY)                                   \
			OUTPUT(share, kind, &sl_ring_priority, SL_RING_PRIORITY, record, bytes, happened); \
		else                                                                                       \
			OUTPUT(share, kind, &sl_ring_bulk, SL_RING_BULK, record, bytes, happened);         \
	})

static __always_inline void count_read_failure(struct sl_counters *count)
{
	__sync_fetch_and_add(&count->read_failures, 1);
}

/* Who `task` is, in a header. */
static __always_inline void fill_task(struct sl_event_hdr *hdr, struct task_struct *task, const struct sl_task *entry)
{
	struct task_user user = task_user(task);

	hdr->sandbox = entry->sandbox;
	hdr->start_time_ns = process_start(task);
	hdr->pid = task->tgid;
	hdr->tid = task->pid;
	hdr->ppid = parent_pid(task);
	hdr->uid = user.uid;
	hdr->gid = user.gid;
	hdr->exec_count = entry->exec_count;
}

/* Fills a header for `task`, which is current. `size` is the record's used size. */
static __always_inline void fill_header(struct sl_event_hdr *hdr, struct task_struct *task, const struct sl_task *entry,
					__u16 kind, __u64 seq, __u32 size)
{
	hdr->kind = kind;
	hdr->cpu = bpf_get_smp_processor_id();
	hdr->size = size;
	hdr->cpu_seq = seq;
	hdr->time_ns = bpf_ktime_get_boot_ns();
	hdr->cgroup_id = bpf_get_current_cgroup_id();
	fill_task(hdr, task, entry);
}

#endif
