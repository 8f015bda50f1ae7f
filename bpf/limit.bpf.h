/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How much a sandbox may do, asked where it is done: connects and connections, programs started, packets sent. A sandbox that has to have limits
 * and whose limits or state are not there is refused everything that they are about. Whose a task or a socket is: verdict.bpf.h.
 */
#ifndef SLUICE_LIMIT_BPF_H
#define SLUICE_LIMIT_BPF_H

#include "bucket.bpf.h"

/* What is one too many for an instant can have another one refused, and never lets one more through. */
static __always_inline bool reserve_connection(struct sl_usage *usage, __u64 most)
{
	if (__sync_fetch_and_add(&usage->connections, 1) < most)
		return true;
	__sync_fetch_and_add(&usage->connections, -1);
	return false;
}

enum limit_answer {
	LIMIT_PASSES,
	LIMIT_COUNTED, /* it passes, and is a connection that counts as open from now on */
	LIMIT_REFUSED,
};

static __always_inline void over_limit(struct flow *flow, const struct sl_limit_rule *rule, __u8 why)
{
	if (rule->flags & SL_LIMIT_THROTTLED)
		why = SL_WHY_THROTTLE;
	if (rule->flags & SL_LIMIT_ENFORCED)
		decide(flow, SL_VERDICT_DENY, why, 0);
	else if (flow->verdict != SL_VERDICT_WOULD_DENY)
		decide(flow, SL_VERDICT_WOULD_DENY, why, 0);
	flow->stops = rule->flags & SL_LIMIT_ENFORCED && rule->flags & SL_LIMIT_STOPS ? SL_STOP_FROZEN : SL_STOP_NONE;
}

#define WAIT_LEAST_US 1000u
#define WAIT_MOST_US 2000000u /* then it is judged again: it may not be throttled any more */

/* Who is throttled waits, where its hook can have it wait. How long depends on nobody else: whoever comes first then has the turn. */
static __always_inline void wait_for_turn(struct flow *flow, const struct taking *taking)
{
	__u64 wait_us = taking->ahead_ns > taking->room_ns ? (taking->ahead_ns - taking->room_ns) / 1000 : 0;

	if (wait_us < WAIT_LEAST_US)
		wait_us = WAIT_LEAST_US;
	flow->wait_us = wait_us < WAIT_MOST_US ? wait_us : WAIT_MOST_US;
	flow->stops = SL_STOP_TURN;
}

/* Not more connections at once than it may have; whether this one counts. */
static __always_inline bool limit_connections(struct flow *flow, struct sl_usage *usage)
{
	struct sl_limit_rule rule = {};
	enum limit_found found = limit_of(flow->to.sandbox, SL_LIMIT_CONNECTIONS, &rule);

	if (found == LIMIT_LOST) {
		decide(flow, SL_VERDICT_DENY, SL_WHY_STATE, 0);
		return false;
	}
	if (found == LIMIT_NONE || reserve_connection(usage, rule.most)) {
		if (found == LIMIT_NONE)
			__sync_fetch_and_add(&usage->connections, 1);
		return true;
	}
	count_refused(usage, SL_LIMIT_CONNECTIONS, 1);
	over_limit(flow, &rule, SL_WHY_CONNECTIONS);
	if (rule.flags & SL_LIMIT_ENFORCED)
		return false;
	__sync_fetch_and_add(&usage->connections, 1);
	return true;
}

static __always_inline void limit_connects(struct flow *flow, struct sl_usage *usage)
{
	struct sl_limit_rule rule = {};
	struct taking taking = {};
	enum limit_found found = limit_of(flow->to.sandbox, SL_LIMIT_CONNECTS, &rule);

	if (found == LIMIT_LOST)
		decide(flow, SL_VERDICT_DENY, SL_WHY_STATE, 0);
	if (found != LIMIT_FOUND)
		return;
	taking.cost_ns = rule.interval_ns;
	taking.room_ns = rule.tolerance_ns;
	taking.highest_ns = rule.tolerance_ns + rule.interval_ns;
	take_from(&usage->paid_ns[SL_LIMIT_CONNECTS], &taking);
	if (taking.is_taken)
		return;
	count_refused(usage, SL_LIMIT_CONNECTS, 1);
	over_limit(flow, &rule, SL_WHY_CONNECTS);
	if (rule.flags & SL_LIMIT_THROTTLED && rule.flags & SL_LIMIT_ENFORCED)
		wait_for_turn(flow, &taking);
}

/* Nobody begins what none of its packets could leave for. */
static __always_inline void limit_spent(struct flow *flow, struct sl_usage *usage)
{
	struct sl_limit_rule rule = {};

	if (limit_of(flow->to.sandbox, SL_LIMIT_EGRESS, &rule) == LIMIT_FOUND && rule.most && usage->bytes >= rule.most &&
	    rule.flags & SL_LIMIT_ENFORCED)
		decide(flow, SL_VERDICT_DENY, SL_WHY_BYTES, 0);
}

/*
 * A connect, or a first datagram to somewhere, that its policy lets through. `opens`: it makes a connection that is not counted yet. Returns
 * enum limit_answer. A global function: the verifier goes through it once, and its stack is its own.
 */
__noinline int limit_call(struct flow *flow, __u32 opens)
{
	struct sl_usage *usage;
	bool counts = false;

	if (!flow)
		return LIMIT_REFUSED;
	usage = usage_of(flow->to.sandbox);
	if (!usage) {
		if (!has_to_be_limited(flow->to.sandbox) && !is_limited(flow->to.sandbox))
			return LIMIT_PASSES;
		decide(flow, SL_VERDICT_DENY, SL_WHY_STATE, 0);
		return LIMIT_REFUSED;
	}
	limit_spent(flow, usage);
	if (opens && flow->verdict != SL_VERDICT_DENY)
		counts = limit_connections(flow, usage);
	if (flow->verdict != SL_VERDICT_DENY)
		limit_connects(flow, usage);
	if (flow->verdict != SL_VERDICT_DENY)
		return counts ? LIMIT_COUNTED : LIMIT_PASSES;
	if (counts)
		__sync_fetch_and_add(&usage->connections, -1);
	return LIMIT_REFUSED;
}

enum exec_answer {
	EXEC_PASSES,
	EXEC_WAITS, /* it is to be stopped: user space lets it go on when its time has come */
	EXEC_ENDS, /* too many wait already, or it can't be kept that it waits */
};

/* Whoever is over a limit that stops stands still until the sandbox is frozen, or so long: nothing waits for ever for who is not there to freeze it. */
#define STOP_NS 3000000000ull

static __always_inline bool keep_held(__u64 sandbox, __u64 task, __u64 start_ns, __u32 pid, __u64 due_ns)
{
	struct sl_held held = {.sandbox = sandbox, .due_ns = due_ns, .start_ns = start_ns, .pid = pid};

	return !bpf_map_update_elem(&sl_held, &task, &held, BPF_ANY);
}

static __always_inline int hold(struct sl_usage *usage, __u64 sandbox, __u64 task, __u64 start_ns, __u32 pid, __u64 due_ns)
{
	if (!keep_held(sandbox, task, start_ns, pid, due_ns)) {
		__sync_fetch_and_add(&usage->killed, 1);
		return EXEC_ENDS;
	}
	__sync_fetch_and_add(&usage->held, 1);
	return EXEC_WAITS;
}

/*
 * What is to become of a process that has just executed a program: its exec has a place in the bucket's time, and waits until then. Returns
 * enum exec_answer. A global function, as above.
 */
__noinline int limit_exec(__u64 sandbox, __u64 task, __u64 start_ns, __u32 pid)
{
	struct sl_usage *usage = usage_of(sandbox);
	struct sl_limit_rule rule = {};
	struct taking taking = {};
	enum limit_found found = limit_of(sandbox, SL_LIMIT_EXECS, &rule);
	bool is_enforced = rule.flags & SL_LIMIT_ENFORCED;

	if (found == LIMIT_NONE)
		return EXEC_PASSES;
	if (found == LIMIT_LOST || !usage)
		return found == LIMIT_LOST || is_enforced ? EXEC_ENDS : EXEC_PASSES;
	taking.cost_ns = rule.interval_ns;
	taking.room_ns = rule.tolerance_ns + (is_enforced ? rule.slack_ns : 0);
	taking.highest_ns = taking.room_ns + rule.interval_ns;
	take_from(&usage->paid_ns[SL_LIMIT_EXECS], &taking);
	if (taking.is_taken && taking.ahead_ns <= rule.tolerance_ns)
		return EXEC_PASSES;
	count_refused(usage, SL_LIMIT_EXECS, 1);
	if (!is_enforced)
		return EXEC_PASSES;
	if (taking.is_taken) {
		__u64 wait = taking.ahead_ns - rule.tolerance_ns;

		if (rule.flags & SL_LIMIT_STOPS && wait < STOP_NS)
			wait = STOP_NS;
		return hold(usage, sandbox, task, start_ns, pid, taking.now_ns + wait);
	}
	__sync_fetch_and_add(&usage->killed, 1);
	return EXEC_ENDS;
}

#define WOKEN_MAX 1

/*
 * A process that was stopped at its exec makes a call: user space let it go on, or somebody else did, who is to have no use of that. Returns
 * enum exec_answer. A global function, as above.
 */
__noinline int limit_held(__u64 task)
{
	struct sl_held *held = bpf_map_lookup_elem(&sl_held, &task);

	if (!held || held->due_ns <= bpf_ktime_get_ns())
		return EXEC_PASSES;
	return __sync_fetch_and_add(&held->woken, 1) < WOKEN_MAX ? EXEC_WAITS : EXEC_ENDS;
}

/* What the bytes of a packet cost. */
static __always_inline __u64 cost_of(const struct sl_limit_rule *rule, __u32 bytes)
{
	return (rule->interval_ns * bytes) >> BYTES_SHIFT;
}

/* Whether all that was to leave, with this, is more than may: from the first that is not let through on nothing is. */
static __always_inline bool is_spent(struct sl_usage *usage, const struct sl_limit_rule *rule, __u32 bytes)
{
	__u64 before = __sync_fetch_and_add(&usage->bytes, bytes);

	return rule->most && before + bytes > rule->most;
}

/*
 * A packet on its way out. TCP that is dropped collapses, so it is slowed by pacing (limit.bpf.c), and dropped where that is got around;
 * everything else is dropped. A global function, as above.
 */
__noinline int limit_packet(__u64 sandbox, __u32 bytes, __u32 is_paced)
{
	struct sl_usage *usage = usage_of(sandbox);
	struct sl_limit_rule rule = {};
	struct taking taking = {};
	enum limit_found found = limit_of(sandbox, SL_LIMIT_EGRESS, &rule);
	bool is_enforced = rule.flags & SL_LIMIT_ENFORCED;

	if (found == LIMIT_NONE)
		return true;
	if (found == LIMIT_LOST || !usage)
		return !(found == LIMIT_LOST || is_enforced);
	if (is_spent(usage, &rule, bytes)) {
		count_refused(usage, SL_LIMIT_EGRESS, bytes);
		return !is_enforced;
	}
	if (!rule.interval_ns)
		return true;
	taking.cost_ns = cost_of(&rule, bytes);
	taking.room_ns = rule.tolerance_ns + (is_paced && is_enforced ? rule.slack_ns : 0);
	taking.highest_ns = taking.room_ns + taking.cost_ns;
	take_from(&usage->paid_ns[SL_LIMIT_EGRESS], &taking);
	if (taking.is_taken && taking.ahead_ns <= rule.tolerance_ns)
		return true;
	count_refused(usage, SL_LIMIT_EGRESS, bytes);
	return taking.is_taken || !is_enforced;
}

/* A connection that was counted is over. A global function, as above. */
__noinline int uncount_connection(__u64 sandbox)
{
	struct sl_usage *usage = usage_of(sandbox);

	if (usage)
		__sync_fetch_and_add(&usage->connections, -1);
	return 0;
}

#endif
