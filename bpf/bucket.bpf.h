/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits of sandboxes, and the buckets that they are kept by, exactly on any number of CPUs: a bucket is one number that is changed by compare
 * and exchange, and who doesn't get to change it in 32 tries is refused. State here is never shed with telemetry, and no refusal waits for it
 * to be told: user space reads what was refused from sl_usages. What they are asked for: limit.bpf.h.
 */
#ifndef SLUICE_BUCKET_BPF_H
#define SLUICE_BUCKET_BPF_H

#include "limit_abi.h"
#include "loop.bpf.h"
#include "policy.bpf.h"

#define TRIES_MAX 32
#define TRIES_FEW 8
#define BYTES_SHIFT 20
/* What a bucket can be ahead for no other reason than that its limit was a lower one: then it is taken back. */
#define FORGIVEN_NS 1000000000ull

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_limit_state);
} sl_limit_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_LIMITED_MAX);
	__type(key, __u64);
	__type(value, struct sl_limits);
} sl_limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_LIMITED_MAX);
	__type(key, __u64);
	__type(value, struct sl_usage);
} sl_usages SEC(".maps");

/* What user space has told of that, which it keeps here for the one that comes after it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_LIMITED_MAX);
	__type(key, __u64);
	__type(value, struct sl_usage);
} sl_limits_told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_HELD_MAX);
	__type(key, __u64);
	__type(value, struct sl_held);
} sl_held SEC(".maps");

static __always_inline struct sl_limit_state *limit_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sl_limit_state, &zero);
}

/* False as long as no sandbox has limits: nothing else is looked at then. */
static __always_inline bool is_anyone_limited(void)
{
	struct sl_limit_state *state = limit_state();

	return state && state->limited;
}

static __always_inline bool is_limited(__u64 sandbox)
{
	return is_anyone_limited() && bpf_map_lookup_elem(&sl_limits, &sandbox);
}

enum limit_found {
	LIMIT_NONE,
	LIMIT_FOUND,
	LIMIT_LOST, /* there has to be one: what it is about is refused */
};

static __always_inline bool copy_limit(__u64 sandbox, const volatile struct sl_limits *from, const enum sl_limit kind,
				       struct sl_limit_rule *ret_rule)
{
	ret_rule->interval_ns = from->rules[kind].interval_ns;
	ret_rule->tolerance_ns = from->rules[kind].tolerance_ns;
	ret_rule->slack_ns = from->rules[kind].slack_ns;
	ret_rule->most = from->rules[kind].most;
	ret_rule->flags = from->rules[kind].flags;
	barrier();
	return from->sandbox == sandbox && from->sandbox_again == sandbox;
}

/* Whether a policy says that there are limits. */
static __always_inline bool has_to_be_limited(__u64 sandbox)
{
	struct policy_now policy;

	return policy_of(sandbox, &policy) && policy.flags & SL_POLICY_LIMITED && policy.flags & SL_POLICY_ENFORCED;
}

static __always_inline enum limit_found limit_of(__u64 sandbox, const enum sl_limit kind, struct sl_limit_rule *ret_rule)
{
	struct sl_limits *found = bpf_map_lookup_elem(&sl_limits, &sandbox);

	if (!found)
		return has_to_be_limited(sandbox) ? LIMIT_LOST : LIMIT_NONE;
	if (!copy_limit(sandbox, found, kind, ret_rule)) {
		found = bpf_map_lookup_elem(&sl_limits, &sandbox);
		if (!found || !copy_limit(sandbox, found, kind, ret_rule))
			return LIMIT_LOST;
	}
	return ret_rule->flags & SL_LIMIT_SET ? LIMIT_FOUND : LIMIT_NONE;
}

static __always_inline struct sl_usage *usage_of(__u64 sandbox)
{
	return bpf_map_lookup_elem(&sl_usages, &sandbox);
}

static __always_inline void count_refused(struct sl_usage *usage, const enum sl_limit kind, __u64 amount)
{
	struct sl_limit_state *state = limit_state();

	__sync_fetch_and_add(&usage->refused[kind], amount);
	if (state)
		__sync_fetch_and_add(&state->hits, 1);
}

/* What something takes from a bucket, and what came of it. */
struct taking {
	__u64 *paid; /* the bucket */
	__u64 cost_ns;
	__u64 room_ns; /* it may be so far ahead of now */
	__u64 highest_ns; /* it can be so far ahead by this limit */
	__u64 now_ns;
	__u64 ahead_ns; /* how far it was */
	bool is_taken;
};

/* 0: somebody else changed it meanwhile. */
static long try_bucket(__u32 round, void *context)
{
	struct taking *taking = context;
	__u64 *paid = taking->paid;
	__u64 found = *(volatile __u64 *)paid;
	__u64 from = found > taking->now_ns ? found : taking->now_ns;

	taking->ahead_ns = from - taking->now_ns;
	if (taking->ahead_ns > taking->room_ns) {
		/* By an earlier limit: the wait for that is over. */
		if (taking->ahead_ns > taking->highest_ns + FORGIVEN_NS)
			__sync_val_compare_and_swap(paid, found, taking->now_ns + taking->highest_ns);
		return 1;
	}
	if (__sync_val_compare_and_swap(paid, found, from + taking->cost_ns) != found)
		return 0;
	taking->is_taken = true;
	return 1;
}

static __always_inline void take_from(__u64 *paid, struct taking *taking)
{
	taking->paid = paid;
	taking->is_taken = false;
	taking->now_ns = bpf_ktime_get_ns();
	LOOP(TRIES_MAX, TRIES_FEW, try_bucket, taking);
}

#endif
