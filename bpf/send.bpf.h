/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sends that name their destination, folded: the first of a thread's sends from one socket to one place is told at once, those that
 * follow are counted and told when a second has passed, when their slot is needed, and when the thread ends. What is refused, a connect too,
 * is told one by one up to so many a second, whatever sockets it is asked of; from there on it is counted as well. What failed otherwise
 * is told one by one. So the counts of all records add up to the calls, exactly; a record that is lost is counted with all it stood for.
 *
 * Kept by thread and not by socket: a thread's end always comes by here, a socket may outlive its sandbox in other hands. Of a thread that
 * rests a sweep of user space tells what is older than a second.
 */
#ifndef SLUICE_SEND_BPF_H
#define SLUICE_SEND_BPF_H

#include "emit.bpf.h"

#define FOLD_NS 1000000000ull
#define REFUSALS_TOLD 16 /* of one thread, rule and destination in a second */
#define WORDS(bytes) (sizeof(bytes) / sizeof(__u64))

_Static_assert(SL_SEND_SLOTS == 4, "send_fold and sends_end name each slot");

const struct sl_sends no_sends = {};

/* The sends of `task`, made if need be. NULL where there is no room: what can't be told is counted as lost. */
static __always_inline struct sl_sends *sends_of(struct task_struct *task)
{
	__u64 key = (__u64)task;
	struct sl_sends *sends = bpf_map_lookup_elem(&sl_sends, &key);

	if (sends)
		return sends;
	bpf_map_update_elem(&sl_sends, &key, &no_sends, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sl_sends, &key);
}

static __always_inline bool sends_take(struct sl_sends *sends)
{
	return !__sync_lock_test_and_set(&sends->busy, 1);
}

static __always_inline void sends_give_back(struct sl_sends *sends)
{
	__sync_lock_test_and_set(&sends->busy, 0);
}

static __always_inline bool same_words(const void *a, const void *b, __u32 count)
{
	const __u64 *left = a, *right = b;
	__u64 differs = 0;
	__u32 i;

	for (i = 0; i < count; i++)
		differs |= left[i] ^ right[i];
	return !differs;
}

static __always_inline bool is_refusal(const struct sl_send_slot *slot)
{
	return slot->rec.verdict == SL_VERDICT_DENY && slot->rec.error;
}

/* Who is refused tries again by another socket. */
static __always_inline bool same_socket(const struct sl_send_slot *a, const struct sl_send_slot *b)
{
	return is_refusal(a) || (a->sock == b->sock && a->rec.cookie == b->rec.cookie);
}

static __always_inline bool same_destination(const struct sl_send_slot *a, const struct sl_send_slot *b)
{
	if (!same_socket(a, b) || a->rec.error != b->rec.error || a->rec.why != b->rec.why || a->rec.type != b->rec.type ||
	    a->rec.hdr.exec_count != b->rec.hdr.exec_count || a->rec.port != b->rec.port || a->rec.family != b->rec.family ||
	    a->rec.via != b->rec.via || a->rec.protocol != b->rec.protocol || a->rec.verdict != b->rec.verdict ||
	    a->rec.rule != b->rec.rule || a->rec.generation != b->rec.generation || a->rec.flags != b->rec.flags ||
	    a->rec.sockaddr_len != b->rec.sockaddr_len)
		return false;
	return same_words(a->rec.addr, b->rec.addr, WORDS(a->rec.addr)) &&
	       same_words(a->sockaddr, b->sockaddr, WORDS(a->sockaddr));
}

/* Sends the slot's record, which stands for `calls` of them. A global function: the verifier goes through it once. */
__noinline int send_tell(struct sl_send_slot *slot, __u64 calls)
{
	struct sl_counters *count = counters();
	struct sl_share *share;
	__u32 size;

	if (!slot || !count)
		return 0;
	size = sizeof(slot->rec) + slot->rec.sockaddr_len;
	barrier_var(size);
	if (size > sizeof(slot->rec) + sizeof(slot->sockaddr))
		return 0;
	slot->rec.count = calls;
	slot->rec.hdr.size = size;
	slot->rec.hdr.cpu = bpf_get_smp_processor_id();
	slot->rec.hdr.cpu_seq = count_attempts(count, SL_KIND_CONNECT, calls);
	slot->rec.hdr.time_ns = bpf_ktime_get_boot_ns();
	share = share_of(slot->rec.hdr.sandbox);
	OUTPUT_VERDICT(share, SL_KIND_CONNECT, slot->rec.verdict, slot, size, calls);
	return 0;
}

static __always_inline void send_flush(struct sl_send_slot *slot)
{
	__u64 untold = slot->untold;

	slot->untold = 0;
	if (untold)
		send_tell(slot, untold);
}

/* True if so few were told in this second that this one is told as well. */
static __always_inline bool tells_refusal(struct sl_send_slot *slot, const struct sl_send_slot *now)
{
	if (now->rec.last_ns - slot->second_ns >= FOLD_NS) {
		send_flush(slot);
		slot->second_ns = now->rec.last_ns;
		slot->told = 0;
	}
	return slot->told++ < REFUSALS_TOLD;
}

/* True if the send `now` went where the slot's did, and is counted there. */
static __always_inline bool send_fold(struct sl_send_slot *slot, struct sl_send_slot *now)
{
	if (!slot->rec.hdr.kind || !same_destination(slot, now))
		return false;
	if (is_refusal(now) && tells_refusal(slot, now)) {
		send_tell(now, 1);
		return true;
	}
	if (!slot->untold)
		slot->first_ns = now->rec.last_ns;
	slot->rec.last_ns = now->rec.last_ns;
	slot->untold++;
	if (now->rec.last_ns - slot->first_ns >= FOLD_NS)
		send_flush(slot);
	return true;
}

/* Clears `now` for a send of `task`. */
static __always_inline void send_begin(struct sl_send_slot *now, struct task_struct *task, const struct sl_task *entry)
{
	__builtin_memset(now, 0, sizeof(*now));
	fill_header(&now->rec.hdr, task, entry, SL_KIND_CONNECT, 0, 0);
	now->rec.last_ns = now->rec.hdr.time_ns;
	now->rec.via = SL_VIA_SENDMSG;
}

/* The same, of a caller that has the slots. A global function: the verifier goes through it once. */
__noinline int send_place(struct sl_sends *sends)
{
	struct sl_send_slot *now, *slot;

	if (!sends)
		return 0;
	now = &sends->now;
	if (now->rec.error && !is_refusal(now))
		return send_tell(now, 1);
	if (send_fold(&sends->slots[0], now) || send_fold(&sends->slots[1], now) || send_fold(&sends->slots[2], now) ||
	    send_fold(&sends->slots[3], now))
		return 0;
	slot = &sends->slots[sends->next % SL_SEND_SLOTS];
	sends->next++;
	send_flush(slot);
	send_tell(now, 1);
	now->second_ns = now->rec.last_ns;
	now->told = 1;
	__builtin_memcpy(slot, now, sizeof(*slot));
	return 0;
}

/* Tells or counts the send that was put together in `now`; the sweep is at the slots for a moment only. Not needed by every object. */
__attribute__((unused)) static __always_inline int send_end(struct sl_sends *sends)
{
	if (!sends_take(sends))
		return send_tell(&sends->now, 1);
	send_place(sends);
	sends_give_back(sends);
	return 0;
}

static __always_inline void sends_flush(struct sl_sends *sends)
{
	send_flush(&sends->slots[0]);
	send_flush(&sends->slots[1]);
	send_flush(&sends->slots[2]);
	send_flush(&sends->slots[3]);
}

/* At the end of a thread: what was counted and not told. Where the sweep is at it, the sweep does it. */
static __always_inline void sends_end(struct task_struct *task)
{
	__u64 key = (__u64)task;
	struct sl_sends *sends = bpf_map_lookup_elem(&sl_sends, &key);

	if (!sends)
		return;
	__sync_lock_test_and_set(&sends->ended, 1);
	if (!sends_take(sends))
		return;
	sends_flush(sends);
	bpf_map_delete_elem(&sl_sends, &key);
}

static __always_inline void send_flush_old(struct sl_send_slot *slot, __u64 now_ns)
{
	if (slot->untold && now_ns - slot->first_ns >= FOLD_NS)
		send_flush(slot);
}

/* What a thread counted longer than a second ago. Nobody else is at this address as long as the task is held. */
__attribute__((unused)) static __always_inline void sends_sweep(struct task_struct *task)
{
	__u64 key = (__u64)task, now_ns = bpf_ktime_get_boot_ns();
	struct sl_sends *sends = bpf_map_lookup_elem(&sl_sends, &key);

	if (!sends || !sends_take(sends))
		return;
	send_flush_old(&sends->slots[0], now_ns);
	send_flush_old(&sends->slots[1], now_ns);
	send_flush_old(&sends->slots[2], now_ns);
	send_flush_old(&sends->slots[3], now_ns);
	sends_give_back(sends);
	if (!__sync_fetch_and_add(&sends->ended, 0))
		return;
	if (sends_take(sends))
		sends_flush(sends);
	bpf_map_delete_elem(&sl_sends, &key);
}

#endif
