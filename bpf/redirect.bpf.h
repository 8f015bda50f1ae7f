/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Queries for names go to the gateway, wherever a task of a sandbox sends them: what it connects or sends to port 53 is rewritten to ports of
 * loopback that are this sandbox's alone, and it is shown the address that it asked for. By which port a query comes is how the gateway
 * knows whose it is, so no task of a sandbox reaches such a port by itself. Each network namespace has a loopback and ports of its own;
 * in one where nobody listens yet a query is refused, and user space asked to see to it (doors.bpf.h). Where the gateway is not there it is
 * refused at once, or left to policy if the sandbox is only observed.
 */
#ifndef SLUICE_REDIRECT_BPF_H
#define SLUICE_REDIRECT_BPF_H

#include "answers.bpf.h"
#include "doors.bpf.h"
#include "verdict.bpf.h"

/* It is heard of every half second. */
#define GATEWAY_SILENT_NS 2000000000ULL

/* sl_redirected: storage of a socket that was sent to the gateway: where its task wanted to go, last. */
struct sl_redirected {
	__u8 addr[16]; /* network order, IPv4 as ::ffff:a.b.c.d */
	__u16 port; /* host order */
	__u16 to_port; /* of loopback, where it was sent */
	__u32 pad;
	__u64 netns; /* whose loopback */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sl_redirected);
} sl_redirected SEC(".maps");

static __always_inline bool is_gateway_port(struct bpf_sock_addr *ctx, const struct flow *flow)
{
	struct sl_gateway_port door = {.port = flow->port};

	if (!is_loopback(flow->to.addr))
		return false;
	door.netns = bpf_get_netns_cookie(ctx);
	return bpf_map_lookup_elem(&sl_gateway_ports, &door);
}

static __always_inline bool is_mapped(const __u8 *addr)
{
	return !((const __u64 *)addr)[0] && ((const __u32 *)addr)[2] == bpf_htonl(0xffff);
}

/* False: it is not known where the gateway would be, or it is not sure that it is the gateway that is there. */
static __always_inline bool find_gateway(struct bpf_sock_addr *ctx, const struct flow *from, const struct sl_gateway *gateway,
					 __u64 netns, struct flow *to)
{
	__u64 sandbox = from->to.sandbox;
	struct sl_redirect *redirect = redirect_in(sandbox, netns);
	struct policy_now policy;
	__u32 *word = (__u32 *)to->to.addr;

	if (bpf_ktime_get_boot_ns() > gateway->alive_ns + GATEWAY_SILENT_NS)
		return false;
	if (!redirect) {
		want_door(sandbox, netns);
		return false;
	}
	to->to.sandbox = sandbox;
	to->protocol = from->protocol;
	to->generation = policy_of(sandbox, &policy) ? policy.generation : 0;
	to->port = redirect->port6;
	word[3] = bpf_htonl(1);
	if (is_mapped(from->to.addr)) {
		to->port = redirect->port4;
		word[2] = bpf_htonl(0xffff);
		word[3] = bpf_htonl(0x7f000001);
	}
	/* A sandbox could have taken the port of a gateway that just died. */
	return to->port && !receiver(ctx, to, NULL);
}

static __always_inline bool keep_original(struct bpf_sock *sk, const struct flow *flow, __u16 to_port, __u64 netns)
{
	struct sl_redirected *kept = bpf_sk_storage_get(&sl_redirected, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!kept)
		return false;
	__builtin_memcpy(kept->addr, flow->to.addr, sizeof(kept->addr));
	kept->port = flow->port;
	kept->to_port = to_port;
	kept->netns = netns;
	return true;
}

/* Packets of a socket that we sent to the gateway of the sandbox's own. */
static __always_inline bool is_redirected(struct bpf_sock *sk, const struct flow *flow)
{
	struct sl_redirected *kept = bpf_sk_storage_get(&sl_redirected, sk, 0, 0);
	struct sl_redirect *redirect;

	if (!kept || kept->to_port != flow->port || !is_loopback(flow->to.addr))
		return false;
	redirect = redirect_in(flow->to.sandbox, kept->netns);
	return redirect && flow->port == (is_mapped(flow->to.addr) ? redirect->port4 : redirect->port6);
}

/*
 * Whether it is for the gateway, which then is decided here and nowhere else: redirected (to `ret_port` of loopback), or refused. False
 * leaves it to the policy. A global function: the verifier goes through it once, and not on every way that leads here.
 */
__noinline int for_gateway(struct bpf_sock_addr *ctx, struct flow *flow, __u32 exec_count, __u16 *ret_port)
{
	struct sl_gateway *gateway = gateway_in_use();
	struct sl_redirect *rule = NULL;
	struct bpf_sock *sk = ctx->sk;
	struct flow to = {};
	__u64 netns;

	if (!gateway || !flow || !ret_port)
		return false;
	if (flow->port == DNS_PORT && flow->protocol)
		rule = redirect_in(flow->to.sandbox, 0);
	if (!rule) {
		if (!is_gateway_port(ctx, flow))
			return false;
		/* What an IPv6 socket that is connected to an IPv4 address sends comes by as if it named where it was connected to. */
		decide(flow, sk && is_redirected(sk, flow) ? SL_VERDICT_ALLOW : SL_VERDICT_DENY, SL_WHY_GATEWAY, 0);
		if (is_egress_refused())
			decide(flow, SL_VERDICT_DENY, SL_WHY_QUARANTINE, 0);
		return true;
	}
	decide(flow, SL_VERDICT_DENY, SL_WHY_GATEWAY, 0);
	netns = bpf_get_netns_cookie(ctx);
	if (is_egress_refused())
		flow->why = SL_WHY_QUARANTINE;
	else if (sk && find_gateway(ctx, flow, gateway, netns, &to) && keep_on_socket(sk, &to, exec_count, NULL) &&
		 keep_original(sk, flow, to.port, netns))
		flow->verdict = SL_VERDICT_REDIRECT;
	else if (rule->flags & SL_REDIRECT_OBSERVES)
		return false;
	flow->generation = to.generation;
	*ret_port = to.port;
	return true;
}

/* A hook may write the address of its own family only. */
static __always_inline void rewrite(struct bpf_sock_addr *ctx, const __u8 *addr, __u16 port, const __u32 family)
{
	const __u32 *word = (const __u32 *)addr;

	if (family == AF_INET) {
		ctx->user_ip4 = word[3];
	} else {
		ctx->user_ip6[0] = word[0];
		ctx->user_ip6[1] = word[1];
		ctx->user_ip6[2] = word[2];
		ctx->user_ip6[3] = word[3];
	}
	ctx->user_port = bpf_htons(port);
}

static __always_inline void send_to_gateway(struct bpf_sock_addr *ctx, const __u8 *addr, __u16 port, const __u32 family)
{
	__u32 word[4] = {0, 0, 0, bpf_htonl(1)};

	if (is_mapped(addr)) {
		word[2] = bpf_htonl(0xffff);
		word[3] = bpf_htonl(0x7f000001);
	}
	rewrite(ctx, (const __u8 *)word, port, family);
}

/* What the task is told where a message came from, or where the socket is connected to. */
static __always_inline void show_original(struct bpf_sock_addr *ctx, const __u32 family)
{
	struct bpf_sock *sk = ctx->sk;
	struct sl_redirected *kept;
	__u32 last;

	if (!gateway_in_use() || !sk)
		return;
	kept = bpf_sk_storage_get(&sl_redirected, sk, 0, 0);
	if (!kept || ctx->user_port != bpf_htons(kept->to_port))
		return;
	last = family == AF_INET ? ctx->user_ip4 : ctx->user_ip6[3];
	if (last == bpf_htonl(0x7f000001) || last == bpf_htonl(1))
		rewrite(ctx, kept->addr, kept->port, family);
}

#endif
