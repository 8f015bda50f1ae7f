/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Values of the BPF maps for limits: what a sandbox may do (written by user space alone) and what it has done (by the kernel side). They are
 * apart, so that another limit forgets nothing. Offsets for TypeScript are generated, as of map_abi.h.
 */
#ifndef SLUICE_LIMIT_ABI_H
#define SLUICE_LIMIT_ABI_H

#define SL_LIMITED_MAX 16384u /* entries of sl_limits and of sl_usages */
#define SL_HELD_MAX 16384u /* entries of sl_held */
#define SL_HELD_OF_SANDBOX_MAX 1024u /* execs of one sandbox that wait */

enum sl_limit {
	SL_LIMIT_CONNECTS = 0,
	SL_LIMIT_EXECS = 1,
	SL_LIMIT_EGRESS = 2, /* in bytes */
	SL_LIMIT_CONNECTIONS = 3, /* open at once */
	SL_LIMIT_KINDS = 4,
};

enum sl_limit_flag {
	SL_LIMIT_SET = 1u << 0, /* else there is none */
	SL_LIMIT_ENFORCED = 1u << 1, /* else what is over it is counted and let through */
	SL_LIMIT_THROTTLED = 1u << 2, /* it was set for a while, and is not the policy's */
	SL_LIMIT_STOPS =
		1u << 3, /* whoever is over it is stopped before its next instruction: its sandbox is about to be frozen */
};

/*
 * One limit. A rate is kept by one number, the time until which all that was let through is paid for (GCRA): something may pass while that is no
 * more than the tolerance ahead of now, and adds its cost. So in time t never more than burst + t / interval.
 */
struct sl_limit_rule {
	__u64 interval_ns; /* that one costs; of bytes, that 1 << 20 cost */
	__u64 tolerance_ns; /* what a burst costs, less one; of bytes, a burst */
	__u64 slack_ns; /* execs: so far ahead they wait, and beyond are killed. Bytes: TCP's are dropped only beyond this */
	__u64 most; /* connections at once; bytes in all, 0 = any number */
	__u32 flags; /* enum sl_limit_flag */
	__u32 pad;
};

/* sl_limits: hash, key __u64 sandbox. What was replaced is another one's at once: who reads knows by the sandbox on both sides. */
struct sl_limits {
	__u64 sandbox; /* the key again */
	struct sl_limit_rule rules[SL_LIMIT_KINDS];
	__u64 sandbox_again;
};

/* sl_usages: hash, key __u64 sandbox. Made by user space before the entry of sl_limits, and removed when the sandbox is over. */
struct sl_usage {
	__u64 paid_ns[SL_LIMIT_KINDS]; /* CLOCK_MONOTONIC */
	__u64 refused[SL_LIMIT_KINDS]; /* over the limit, since it began: connects, execs, bytes */
	__u64 connections; /* open now */
	__u64 bytes; /* that left, since it began */
	__u64 held; /* of the execs that were over: stopped, to go on later */
	__u64 killed; /* of the execs that were over: killed */
};

/*
 * sl_held: hash, key __u64 address of the kernel's task. A process that was stopped, at its exec or for what it did. User space removes the entry when the time has
 * come, and then lets it go on; one that goes on before is stopped again, or killed.
 */
struct sl_held {
	__u64 sandbox;
	__u64 due_ns; /* CLOCK_MONOTONIC */
	__u64 start_ns; /* start_time_ns of sl_event_hdr */
	__u32 pid;
	__u32 woken; /* by others, before its time */
};

/* sl_limit_state: array of one. */
struct sl_limit_state {
	__u32 limited; /* 0 = sl_limits is empty, and no hook looks further */
	__u32 pad;
	__u64 hits; /* counts up with everything in sl_usages that is to be told */
};

_Static_assert(sizeof(struct sl_limit_rule) == 40, "sl_limit_rule");
_Static_assert(sizeof(struct sl_limits) == 16 + 4 * 40, "sl_limits");
_Static_assert(sizeof(struct sl_usage) == 2 * 32 + 32, "sl_usage");
_Static_assert(sizeof(struct sl_held) == 32, "sl_held");
_Static_assert(sizeof(struct sl_limit_state) == 16, "sl_limit_state");

#endif
