// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What limits take besides the hooks that judge (limit.bpf.h). TCP that would be over its rate is paced by its own sender, who drops nothing: with
 * every acknowledgement each connection is told how fast it may be from there on, by what its sandbox has left. So connections that rest take
 * nothing from the others, and what was too much is made up for. Whoever gets around that has its packets dropped (limit_packet).
 *
 * And the end of connections that were counted as open when they were asked for, and then were not made.
 */
#include "limit.bpf.h"
#include "redirect.bpf.h"
#include "verdict.bpf.h"

#define SOL_SOCKET 1
#define SO_MAX_PACING_RATE 47
#define UNPACED 0xffffffffu
#define SLOWEST 1024u /* bytes a second */
#define NS_PER_S 1000000000ull
/* With so much left, or owed, it is as fast as it likes, or as slow as it gets. */
#define SPAN_NS (NS_PER_S / 2)

/* Bytes a second by what is left of the sandbox's bucket: the rate itself where that is just empty. */
static __always_inline __u32 pace_of(struct sl_usage *usage, const struct sl_limit_rule *rule)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 paid = *(volatile __u64 *)&usage->paid_ns[SL_LIMIT_EGRESS];
	__u64 until = now + rule->tolerance_ns;
	__u64 rate, pace;

	if (!rule->interval_ns || !(rule->flags & SL_LIMIT_ENFORCED))
		return UNPACED;
	rate = (NS_PER_S << BYTES_SHIFT) / rule->interval_ns;
	if (paid <= until) {
		__u64 left = until - (paid > now ? paid : now);

		if (left >= SPAN_NS)
			return UNPACED;
		pace = rate + rate * (left >> BYTES_SHIFT) / (SPAN_NS >> BYTES_SHIFT);
	} else {
		__u64 owed = paid - until;

		if (owed > SPAN_NS)
			owed = SPAN_NS;
		pace = rate - rate * (owed >> BYTES_SHIFT) / (SPAN_NS >> BYTES_SHIFT);
	}
	if (pace < SLOWEST)
		pace = SLOWEST;
	return pace < UNPACED ? pace : UNPACED;
}

static __always_inline void pace(struct bpf_sock_ops *ctx, bool begins)
{
	struct bpf_sock *sk = ctx->sk;
	struct sl_limit_rule rule = {};
	struct sl_socket *socket;
	struct sl_usage *usage;
	__u64 sandbox;
	__u32 rate;

	if (!sk)
		return;
	socket = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (!socket)
		return;
	sandbox = socket->owner.sandbox;
	usage = usage_of(sandbox);
	if (!usage)
		return;
	/* Also where there is no limit yet: there may be one before the connection ends. */
	if (begins)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
	rate = limit_of(sandbox, SL_LIMIT_EGRESS, &rule) == LIMIT_FOUND ? pace_of(usage, &rule) : UNPACED;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
}

SEC("sockops")
int sl_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;

	if (!is_anyone_limited())
		return LET_THROUGH;
	if (op == BPF_SOCK_OPS_RTT_CB)
		pace(ctx, false);
	else if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		pace(ctx, true);
	return LET_THROUGH;
}

/* One that is still under way is over when the kernel says so (connection.bpf.c). */
SEC("cgroup/sock_release")
int sl_sock_release(struct bpf_sock *ctx)
{
	struct sl_socket *socket;

	if (!is_anyone_limited())
		return LET_THROUGH;
	socket = bpf_sk_storage_get(&sl_sockets, ctx, 0, 0);
	if (socket && socket->counted && ctx->state == TCP_CLOSE)
		forget_connection(socket, bpf_get_socket_cookie(ctx));
	return LET_THROUGH;
}
