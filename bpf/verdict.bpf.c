// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The second line behind egress.bpf.c, for what no connect or send hook sees: sockets are judged when they are made, and packets by whose
 * socket they leave through: of raw and ping sockets, of those that were connected before the policy or came from outside, and those
 * that the kernel sends by itself. Both hooks sit at the cgroup root; while nobody has a policy each is one look-up.
 *
 * Not seen here: packets that no socket sends (AF_PACKET, AF_XDP, tun devices); vsock; Unix sockets.
 */
#include "emit.bpf.h"
#include "redirect.bpf.h"
#include "verdict.bpf.h"

#define IP_HEADER_MIN 20
#define IP6_HEADER 40
#define TCP_HEADER_MIN 20
#define TCP_OFFSET_AT 12
#define TCP_FLAGS_AT 13
#define TCP_RST 0x04
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_OPTIONS_MAX 40
#define IP_OPTION_END 0
#define IP_OPTION_NOTHING 1
#define IP_OPTION_LOOSE 131
#define IP_OPTION_STRICT 137
#define GFP_OF_USERS 0xc0 /* __GFP_IO | __GFP_FS of include/linux/gfp_types.h */

SEC("cgroup/sock_create")
int sl_sock_create(struct bpf_sock *ctx)
{
	struct policy_now policy = {};
	struct sl_pending_connect *place;
	struct sl_socket *socket;
	__u64 sandbox;

	if (!is_anyone_policed() && !is_anyone_limited())
		return LET_THROUGH;
	place = place_of_current();
	if (!place)
		return LET_THROUGH;
	sandbox = place->sandbox;
	if (!policy_of(sandbox, &policy) && !is_limited(sandbox))
		return LET_THROUGH;
	socket = bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (socket) {
		own_socket(socket, bpf_get_current_task_btf(), sandbox, place->exec_count);
		socket->program = place->program;
	}
	if (!(policy.flags & SL_POLICY_ENFORCED))
		return LET_THROUGH;
	if (!socket || !is_open_here(ctx->protocol, sandbox))
		return REFUSE;
	return is_open_socket(ctx->family, ctx->type, ctx->protocol) ? LET_THROUGH : REFUSE;
}

/* What a packet's own header says. */
struct packet {
	__u8 addr[16]; /* where it goes */
	struct source from;
	__u16 port; /* host order; 0 = none, or not known */
	__u8 protocol; /* IPPROTO_*; 0 = not known, or no port where there should be one */
	bool is_of_socket; /* of the socket's protocol and from its port: nothing that was made of one of its packets */
	__u32 ports_at;
};

/* One option of an IPv4 header after the other. */
struct option_step {
	__u8 bytes[IP_OPTIONS_MAX];
	__u32 at;
	__u32 end;
	bool is_routed;
};

static long look_at_option(__u32 round, void *context)
{
	struct option_step *step = context;
	__u32 at = step->at;
	__u8 kind, len;

	barrier_var(at);
	if (at >= step->end || at >= IP_OPTIONS_MAX - 1)
		return 1;
	kind = step->bytes[at];
	len = step->bytes[at + 1];
	if (kind == IP_OPTION_END)
		return 1;
	if (kind == IP_OPTION_LOOSE || kind == IP_OPTION_STRICT)
		step->is_routed = true;
	step->at += kind == IP_OPTION_NOTHING ? 1 : len < 2 ? 2 : len;
	return step->is_routed;
}

/* Whether the packet says itself where it goes after where its header says: by a source route. */
static __always_inline bool is_source_routed(struct __sk_buff *skb, __u32 header)
{
	struct option_step step = {};
	__u32 len = header - IP_HEADER_MIN;

	if (header <= IP_HEADER_MIN)
		return false;
	barrier_var(len);
	if (!len || len > IP_OPTIONS_MAX || bpf_skb_load_bytes_relative(skb, IP_HEADER_MIN, step.bytes, len, BPF_HDR_START_NET))
		return true;
	step.end = len;
	LOOP(IP_OPTIONS_MAX, 8, look_at_option, &step);
	return step.is_routed;
}

static __always_inline bool read_header(struct __sk_buff *skb, struct packet *packet, __u32 *ret_ports_at)
{
	__u8 head[IP6_HEADER] = {};
	__u32 address;

	if (bpf_skb_load_bytes_relative(skb, 0, head, IP_HEADER_MIN, BPF_HDR_START_NET))
		return false;
	if (head[0] >> 4 == 4) {
		__builtin_memcpy(&address, &head[16], sizeof(address));
		put_ip4(packet->addr, address);
		__builtin_memcpy(&address, &head[12], sizeof(address));
		put_ip4(packet->from.addr, address);
		packet->protocol = head[9];
		*ret_ports_at = (head[0] & 0xf) * 4;
		return !((head[6] << 8 | head[7]) & IP_FRAGMENT_OFFSET) && !is_source_routed(skb, *ret_ports_at);
	}
	if (bpf_skb_load_bytes_relative(skb, 0, head, IP6_HEADER, BPF_HDR_START_NET))
		return false;
	__builtin_memcpy(packet->addr, &head[24], sizeof(packet->addr));
	__builtin_memcpy(packet->from.addr, &head[8], sizeof(packet->from.addr));
	packet->protocol = head[6];
	*ret_ports_at = IP6_HEADER;
	return true;
}

static __always_inline void read_packet(struct __sk_buff *skb, struct bpf_sock *sk, struct packet *packet)
{
	__be16 ports[2] = {};
	__u32 ports_at = 0;

	if (!read_header(skb, packet, &ports_at)) {
		packet->protocol = 0;
		return;
	}
	packet->is_of_socket = packet->protocol == (sk->protocol == IPPROTO_MPTCP ? IPPROTO_TCP : sk->protocol);
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
		return;
	if (bpf_skb_load_bytes_relative(skb, ports_at, ports, sizeof(ports), BPF_HDR_START_NET)) {
		packet->protocol = 0;
		return;
	}
	packet->ports_at = ports_at;
	packet->port = bpf_ntohs(ports[1]);
	packet->from.port = bpf_ntohs(ports[0]);
	packet->is_of_socket &= bpf_ntohs(ports[0]) == sk->src_port;
}

/* The kernel's socket behind a hook's: by way of memory, as the verifier lets nobody reach beyond what it shows of it. */
static __always_inline struct sock *whole_sock(struct bpf_sock *sk)
{
	struct bpf_sock *kept = sk;
	struct sock *whole = NULL;

	bpf_probe_read_kernel(&whole, sizeof(whole), &kept);
	return whole;
}

/*
 * Whether it is the current task that sends by this socket, and not whoever the kernel interrupted to send. A TCP socket that somebody has
 * locked is sent by only by who has; UDP, raw and ping sockets send nothing by themselves. Left out are sockets of the kernel's own, which have no
 * file, those that somebody lent to it (allocating with care) or tunnels through (encapsulating), and packets that IPsec made of others:
 * through all of these a task of ours can cause something to be sent that is not its own.
 */
static __always_inline bool is_sender_current(struct bpf_sock *by, const struct packet *packet)
{
	struct sock *sk = whole_sock(by);

	if (!BPF_CORE_READ(sk, sk_socket, file) || (BPF_CORE_READ(sk, sk_allocation) & GFP_OF_USERS) != GFP_OF_USERS)
		return false;
	if (packet->protocol == IPPROTO_TCP)
		return packet->is_of_socket && by->state != TCP_LISTEN && BPF_CORE_READ(sk, sk_lock.owned);
	if (packet->protocol == IPPROTO_UDP)
		return packet->is_of_socket && !BPF_CORE_READ((struct udp_sock *)sk, encap_type);
	return packet->is_of_socket;
}

/* Of several at once, who removes it counts it. */
static __always_inline void forget_lent(__u64 key, __u64 sandbox)
{
	if (!bpf_map_delete_elem(&sl_lent, &key))
		uncount_lent(sandbox);
}

/* Whose a socket is that came in from outside and sends for the first time; 0: nobody's. */
static __always_inline __u64 claim_lent(struct bpf_sock *sk, struct sl_socket **ret_socket)
{
	struct sock *whole = whole_sock(sk);
	__u64 key = (__u64)whole;
	struct sl_lent *lent = bpf_map_lookup_elem(&sl_lent, &key);
	struct sl_socket *socket;
	__u64 sandbox;

	if (!lent)
		return 0;
	/* One that nobody has open any more sends what is left in it, and has been this one all along: an earlier one sent before that. */
	if (BPF_CORE_READ(whole, sk_socket) && BPF_CORE_READ(whole, sk_socket, file, f_inode, i_ino) != lent->inode) {
		forget_lent(key, lent->owner.sandbox);
		return 0;
	}
	sandbox = lent->owner.sandbox;
	socket = bpf_sk_storage_get(&sl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (socket) {
		socket->owner = lent->owner;
		__builtin_memset(&socket->program, 0, sizeof(socket->program));
		forget_lent(key, sandbox);
	}
	*ret_socket = socket;
	return sandbox;
}

/* Whose a socket of nobody's is that a task of ours sends by. Where that can't be kept with the socket each packet is judged anew. */
static __always_inline __u64 claim(struct bpf_sock *sk, const struct packet *packet, struct sl_socket **ret_socket)
{
	struct sl_pending_connect *place = place_of_current();
	struct sl_socket *socket;
	__u64 sandbox;

	if (!place || !(is_policed(place->sandbox) || is_limited(place->sandbox)) || !is_sender_current(sk, packet))
		return 0;
	sandbox = place->sandbox;
	socket = bpf_sk_storage_get(&sl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (socket) {
		own_socket(socket, bpf_get_current_task_btf(), sandbox, place->exec_count);
		socket->program = place->program;
	}
	*ret_socket = socket;
	return sandbox;
}

static __always_inline bool is_refusal_told(const struct sl_socket *socket, const struct flow *flow)
{
	const __u64 *told = (const __u64 *)socket->refused_addr, *now = (const __u64 *)flow->to.addr;

	return socket->is_told && told[0] == now[0] && told[1] == now[1] && socket->refused_port == flow->port &&
	       socket->refused_generation == flow->generation;
}

/* Once for a place that a socket's packets are refused to: the kernel tries a lost packet again and again by itself. */
static __always_inline void tell_refusal(struct sl_socket *socket, const struct flow *flow, struct bpf_sock *sk)
{
	struct sl_share *share = share_of(socket->owner.sandbox);
	struct sl_counters *count = counters();
	struct sl_connect *rec;
	__u64 seq;

	if (!count || is_refusal_told(socket, flow))
		return;
	seq = count_attempt(count, SL_KIND_CONNECT);
	rec = reserve_connect(share, flow->verdict);
	if (!rec)
		return;
	socket->is_told = 1;
	__builtin_memcpy(socket->refused_addr, flow->to.addr, sizeof(socket->refused_addr));
	socket->refused_port = flow->port;
	socket->refused_generation = flow->generation;
	__builtin_memset(rec, 0, sizeof(*rec));
	rec->hdr = socket->owner;
	rec->hdr.cpu = bpf_get_smp_processor_id();
	rec->hdr.cpu_seq = seq;
	rec->hdr.time_ns = bpf_ktime_get_boot_ns();
	rec->last_ns = rec->hdr.time_ns;
	rec->cookie = BPF_CORE_READ(whole_sock(sk), __sk_common.skc_cookie.counter);
	__builtin_memcpy(rec->addr, flow->to.addr, sizeof(rec->addr));
	rec->port = flow->port;
	rec->local_port = sk->src_port;
	rec->family = sk->family;
	rec->protocol = sk->protocol;
	rec->type = sk->type;
	rec->count = 1;
	rec->error = flow->verdict == SL_VERDICT_DENY ? EPERM : 0;
	rec->via = SL_VIA_PACKET;
	rec->flags = SL_CONNECT_KERNEL_ADDR;
	put_verdict(rec, flow);
	bpf_ringbuf_submit(rec, 0);
}

/* An answer to who came in by loopback: whoever it is, it is on this machine and asked. */
static __always_inline bool is_loopback_answer(struct bpf_sock *sk, const struct flow *flow)
{
	struct sl_connection *connection;

	if (flow->protocol != IPPROTO_TCP || !is_loopback(flow->to.addr))
		return false;
	if (sk->state == TCP_LISTEN)
		return true;
	connection = bpf_sk_storage_get(&sl_connections, sk, 0, 0);
	return connection && connection->incoming;
}

/* A reset of TCP's that carries nothing. */
static __always_inline bool is_bare_reset(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 head[TCP_HEADER_MIN] = {};

	if (packet->protocol != IPPROTO_TCP || !packet->is_of_socket ||
	    bpf_skb_load_bytes_relative(skb, packet->ports_at, head, sizeof(head), BPF_HDR_START_NET))
		return false;
	return head[TCP_FLAGS_AT] & TCP_RST && skb->len == packet->ports_at + (head[TCP_OFFSET_AT] >> 4) * 4;
}

/*
 * On loopback it counts who has the port when a packet comes there, and not when the socket was connected: of datagrams each time, of a
 * connection as long as it is none yet.
 */
static __always_inline bool is_judged_anew(struct bpf_sock *sk, const struct flow *flow)
{
	return is_loopback(flow->to.addr) && (flow->protocol == IPPROTO_UDP || sk->state == TCP_SYN_SENT);
}

static __always_inline int judge_packet(struct __sk_buff *skb, struct bpf_sock *sk, const struct packet *packet,
					struct sl_socket *socket, __u64 sandbox)
{
	struct flow flow = {.to.sandbox = sandbox};
	struct policy_now policy;

	if (!policy_of(sandbox, &policy))
		return LET_THROUGH;
	__builtin_memcpy(flow.to.addr, packet->addr, sizeof(flow.to.addr));
	flow.port = packet->port;
	flow.protocol = ruled_protocol(packet->protocol);
	if (socket && socket->generation == policy.generation && is_let_through(socket, &flow) && !is_judged_anew(sk, &flow))
		return LET_THROUGH;
	if (is_redirected(sk, &flow) || is_loopback_answer(sk, &flow))
		return LET_THROUGH;
	look_at_loopback(skb, &flow, &packet->from);
	judge(&flow, socket ? &socket->program : NULL, &policy);
	if (flow.verdict == SL_VERDICT_DENY && socket && socket->is_reset && is_bare_reset(skb, packet))
		return LET_THROUGH;
	if (socket && flow.verdict != SL_VERDICT_ALLOW)
		tell_refusal(socket, &flow, sk);
	if (flow.verdict == SL_VERDICT_DENY)
		return REFUSE;
	if (socket)
		let_through(socket, &flow);
	return LET_THROUGH;
}

SEC("cgroup_skb/egress")
int sl_egress(struct __sk_buff *skb)
{
	struct sl_sandbox *by_cgroup;
	struct packet packet = {};
	struct sl_socket *socket;
	struct bpf_sock *sk;
	__u64 sandbox;

	if (!is_anyone_policed() && !is_anyone_limited())
		return LET_THROUGH;
	sk = skb->sk;
	if (!sk)
		return LET_THROUGH;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return LET_THROUGH;
	read_packet(skb, sk, &packet);
	socket = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (socket) {
		sandbox = socket->owner.sandbox;
	} else {
		sandbox = claim_lent(sk, &socket);
		if (!sandbox)
			sandbox = claim(sk, &packet, &socket);
	}
	if (!sandbox) {
		/* One that the kernel made by itself for a sandbox: a further flow of MPTCP. */
		by_cgroup = sandbox_of_cgroup(bpf_skb_cgroup_id(skb));
		sandbox = by_cgroup ? by_cgroup->id : 0;
	}
	if (!sandbox)
		return LET_THROUGH;
	if (judge_packet(skb, sk, &packet, socket, sandbox) == REFUSE)
		return REFUSE;
	if (!is_anyone_limited() || limit_packet(sandbox, skb->len, packet.protocol == IPPROTO_TCP))
		return LET_THROUGH;
	return REFUSE;
}
