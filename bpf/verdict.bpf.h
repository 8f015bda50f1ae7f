/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who asks, for hooks at the cgroup root: the current task's sandbox, or the socket's. A socket becomes a sandbox's when a task of it
 * makes, connects or first sends by it, and stays that; what a listener accepts is its too. What the answer is: policy.bpf.h.
 */
#ifndef SLUICE_VERDICT_BPF_H
#define SLUICE_VERDICT_BPF_H

#include "identity.bpf.h"
#include "limit.bpf.h"
#include "policy.bpf.h"
#include "sockaddr.bpf.h"

#define REFUSE 0 /* the call fails with EPERM; a packet is dropped */
#define LET_THROUGH 1

#define NETLINK_USERSOCK 2

/* include/linux/sched.h: threads of a process that the kernel runs for it, which no fork tells of */
#define PF_IO_WORKER 0x10
#define PF_USER_WORKER 0x4000

/* sl_sockets: storage of a socket: whose it is, and what it was last let through to. A listener's is copied to what it accepts. */
struct sl_socket {
	struct sl_event_hdr owner; /* the task that it became the sandbox's by, as it was then */
	__u8 addr[16]; /* let through to, by policy `generation`; 0 = nothing yet */
	__u32 generation;
	__u16 port;
	__u8 protocol;
	__u8 is_told; /* that packets to the following are refused */
	__u8 refused_addr[16];
	__u16 refused_port;
	__u8 is_reset; /* we are ending the connection: its reset may leave */
	__u8 pad;
	__u32 refused_generation;
	struct sl_program program; /* that made, connected or first sent by it: who uses it later is not asked */
	__u64 counted; /* the socket's cookie: it is one of its sandbox's open connections. Another one: that is what it was copied from */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sl_socket);
} sl_sockets SEC(".maps");

/* Key: the address of the kernel's socket (lent.bpf.h). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_LENT_MAX);
	__type(key, __u64);
	__type(value, struct sl_lent);
} sl_lent SEC(".maps");

/* How many of them each sandbox has: nobody takes the others' room. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_POLICIES_MAX);
	__type(key, __u64);
	__type(value, __s64);
} sl_lent_counts SEC(".maps");

static __always_inline void uncount_lent(__u64 sandbox)
{
	__s64 *count = bpf_map_lookup_elem(&sl_lent_counts, &sandbox);

	if (count)
		__sync_fetch_and_add(count, -1);
}

/* The place of the current task; of a thread that the kernel runs for a process, that of its leader. NULL: not ours. */
static __always_inline struct sl_pending_connect *place_of_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_pending_connect *place = place_at((__u64)task);

	if (!place && task->flags & (PF_IO_WORKER | PF_USER_WORKER))
		place = place_at((__u64)task->group_leader);
	return is_place_of(place, task) ? place : NULL;
}

/* 127.0.0.0/8 and ::1; a connect to no address at all goes there too. */
static __always_inline bool is_loopback(const __u8 *addr)
{
	const __u64 *half = (const __u64 *)addr;
	const __u32 *word = (const __u32 *)addr;

	if (half[0])
		return false;
	if (!word[2])
		return !word[3] || word[3] == bpf_htonl(1);
	return word[2] == bpf_htonl(0xffff) && (addr[12] == 127 || !word[3]);
}

/* The address that a connect to no address goes to. */
static __always_inline void name_loopback(__u8 *addr)
{
	__u32 *word = (__u32 *)addr;

	if (((__u64 *)addr)[0] || word[3])
		return;
	if (!word[2])
		word[3] = bpf_htonl(1);
	else if (word[2] == bpf_htonl(0xffff))
		word[3] = bpf_htonl(0x7f000001);
}

/* Where a packet comes from. */
struct source {
	__u8 addr[16]; /* as flow.to */
	__u16 port; /* host order; 0 = not known yet */
};

/*
 * Whose the socket is that would get what is sent to the flow's address: the look-up is the kernel's own. Before there is a packet `from` is
 * NULL; where several listen at one port who sends decides among them. `ctx` is the hook's.
 */
static __always_inline __u64 receiver(void *ctx, const struct flow *flow, const struct source *from)
{
	const __u32 *word = (const __u32 *)flow->to.addr;
	const __u32 *source = from ? (const __u32 *)from->addr : word;
	struct bpf_sock_tuple tuple = {};
	struct sl_socket *socket;
	struct bpf_sock *sk;
	__u64 sandbox = 0;
	__u32 size;

	if (word[2]) {
		tuple.ipv4.saddr = source[3];
		tuple.ipv4.daddr = word[3];
		tuple.ipv4.sport = from ? bpf_htons(from->port) : 0;
		tuple.ipv4.dport = bpf_htons(flow->port);
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, source, sizeof(tuple.ipv6.saddr));
		tuple.ipv6.daddr[3] = word[3];
		tuple.ipv6.sport = from ? bpf_htons(from->port) : 0;
		tuple.ipv6.dport = bpf_htons(flow->port);
		size = sizeof(tuple.ipv6);
	}
	if (flow->protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	socket = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (socket)
		sandbox = socket->owner.sandbox;
	bpf_sk_release(sk);
	return sandbox;
}

/* Sets flow.loopback, where the address is one. */
static __always_inline void look_at_loopback(void *ctx, struct flow *flow, const struct source *from)
{
	if (!is_loopback(flow->to.addr))
		return;
	name_loopback(flow->to.addr);
	flow->loopback = LOOPBACK_OTHERS;
	if ((flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP) && receiver(ctx, flow, from) == flow->to.sandbox)
		flow->loopback = LOOPBACK_OWN;
}

static __always_inline void own_socket(struct sl_socket *socket, struct task_struct *task, __u64 sandbox, __u32 exec_count)
{
	struct sl_task entry = {.sandbox = sandbox, .exec_count = exec_count};

	socket->owner.kind = SL_KIND_CONNECT;
	socket->owner.size = sizeof(struct sl_connect);
	socket->owner.cgroup_id = cgroup_id(cgroup_of(task));
	fill_task(&socket->owner, task, &entry);
	__builtin_memset(&socket->program, 0, sizeof(socket->program));
}

static __always_inline void let_through(struct sl_socket *socket, const struct flow *flow)
{
	__builtin_memcpy(socket->addr, flow->to.addr, sizeof(socket->addr));
	socket->port = flow->port;
	socket->protocol = flow->protocol;
	socket->generation = flow->generation;
}

/*
 * Makes the socket the sandbox's and, where the flow is let through, lets its packets through too. False if that can't be kept: then its
 * packets could not be judged. Without a place the program is not known.
 */
static __always_inline bool keep_on_socket(struct bpf_sock *sk, const struct flow *flow, __u32 exec_count,
					   const struct sl_pending_connect *place)
{
	struct sl_socket *socket = bpf_sk_storage_get(&sl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!socket)
		return false;
	own_socket(socket, bpf_get_current_task_btf(), flow->to.sandbox, exec_count);
	if (place)
		socket->program = place->program;
	if (flow->verdict == SL_VERDICT_DENY)
		return true;
	let_through(socket, flow);
	return true;
}

/* What it was let through to last is what the flow goes to. */
static __always_inline bool is_let_through(const struct sl_socket *socket, const struct flow *flow)
{
	const __u64 *let = (const __u64 *)socket->addr, *now = (const __u64 *)flow->to.addr;

	return let[0] == now[0] && let[1] == now[1] && socket->port == flow->port && socket->protocol == flow->protocol;
}

/* Of a flow that may leave: not more of them than the sandbox's limits let through. Datagrams to one place count once. */
static __always_inline void limit_flow(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct flow *flow, const __u8 via)
{
	struct sl_socket *socket = sk ? bpf_sk_storage_get(&sl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	bool opens = socket && via == SL_VIA_CONNECT && flow->protocol == IPPROTO_TCP && socket->counted != cookie;

	if (socket && via == SL_VIA_SENDMSG && socket->owner.sandbox == flow->to.sandbox && is_let_through(socket, flow))
		return;
	if (limit_call(flow, opens) == LIMIT_COUNTED && socket)
		socket->counted = cookie;
}

/* What the sandbox's policy says, its limits, and its quarantine. Where a socket can't be kept as the sandbox's its packets could not be judged. */
static __always_inline void judge_call(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct flow *flow,
				       const struct sl_pending_connect *place, const __u8 via)
{
	struct policy_now policy = {};
	bool is_ruled;

	decide(flow, SL_VERDICT_ALLOW, SL_WHY_NO_POLICY, 0);
	is_ruled = policy_of(flow->to.sandbox, &policy);
	if (is_ruled) {
		look_at_loopback(ctx, flow, NULL);
		judge(flow, &place->program, &policy);
	}
	if (is_egress_refused())
		decide(flow, SL_VERDICT_DENY, SL_WHY_QUARANTINE, 0);
	else if (flow->verdict != SL_VERDICT_DENY && (policy.flags & SL_POLICY_LIMITED || is_anyone_limited()))
		limit_flow(ctx, sk, flow, via);
	if ((is_ruled || is_limited(flow->to.sandbox)) && (!sk || !keep_on_socket(sk, flow, place->exec_count, place)) &&
	    policy.flags & SL_POLICY_ENFORCED)
		decide(flow, SL_VERDICT_DENY, SL_WHY_STATE, 0);
}

/* The socket is no open connection any more; nothing happens for one that was not counted. */
static __always_inline void forget_connection(struct sl_socket *socket, __u64 cookie)
{
	if (socket->counted == cookie && __sync_val_compare_and_swap(&socket->counted, cookie, 0) == cookie)
		uncount_connection(socket->owner.sandbox);
}

static __always_inline void put_verdict(struct sl_connect *rec, const struct flow *flow)
{
	rec->verdict = flow->verdict;
	rec->why = flow->why;
	rec->rule = flow->rule;
	rec->generation = flow->generation;
}

static __always_inline void put_pending_verdict(struct sl_connect *rec, const struct sl_pending_connect *pending)
{
	rec->verdict = pending->verdict;
	rec->why = pending->why;
	rec->rule = pending->rule;
	rec->generation = pending->generation;
}

/*
 * For a record only, by the address that it has: the call, or its packets, were judged where they came by a hook. Loopback takes a hook to
 * tell.
 */
static __always_inline void judge_afterwards(struct sl_connect *rec, __u64 sandbox)
{
	struct flow flow = {.to.sandbox = sandbox, .protocol = ruled_protocol(rec->protocol)};
	struct sl_pending_connect *place = place_of_current();
	struct policy_now policy;

	if (!policy_of(sandbox, &policy) || is_loopback(rec->addr))
		return;
	__builtin_memcpy(flow.to.addr, rec->addr, sizeof(flow.to.addr));
	flow.port = flow.protocol == IPPROTO_ICMP ? 0 : rec->port;
	judge(&flow, place ? &place->program : NULL, &policy);
	put_verdict(rec, &flow);
}

/*
 * Whether a task of this sandbox may make a socket of this protocol where it is now. Further flows of MPTCP are made by the kernel, and all that
 * says whose they are is the cgroup of the first: out of the sandbox's own, nothing would.
 */
static __always_inline bool is_open_here(__u32 protocol, __u64 sandbox)
{
	struct sl_sandbox *here;

	if (protocol != IPPROTO_MPTCP)
		return true;
	here = sandbox_of_cgroup(cgroup_id(cgroup_of(bpf_get_current_task_btf())));
	return here && here->id == sandbox;
}

/* Of a socket that is made: may a sandbox with these flags have it? Families that have no addresses of ours go by this alone. */
static __always_inline bool is_open_socket(__u32 family, __u32 type, __u32 protocol)
{
	switch (family) {
	case AF_UNIX:
	case AF_ALG:
		return true;
	case AF_NETLINK:
		return protocol != NETLINK_USERSOCK;
	case AF_INET:
	case AF_INET6:
		return (type == SOCK_STREAM || type == SOCK_DGRAM) && (!protocol || ruled_protocol(protocol));
	}
	return false;
}

#endif
