// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The end of TCP connections, with what went over them. Whose a connection is stands in the socket's own storage: it is set where a task
 * of ours connects or listens, copied by the kernel to what a listener accepts, and read when the socket is closed, which mostly happens
 * where `current` is a stranger. Not at the cgroup root: a tracepoint can refuse nobody.
 *
 * A connection that was made before its process was watched, or came from outside as an open descriptor, is ours from when a task of
 * ours closes it. Further flows of MPTCP are opened by the kernel, for nobody. UDP has no connection, and no counts.
 */
#include "identity.bpf.h"
#include "policy.bpf.h"
#include "sockaddr.bpf.h"
#include "turn.bpf.h"
#include "verdict.bpf.h"
#include <bpf/bpf_tracing.h>

static __always_inline struct sl_connection *connection_of(const struct sock *sk, __u64 flags)
{
	return bpf_sk_storage_get(&sl_connections, (void *)sk, 0, flags);
}

/* Makes the socket current's if that is a task of ours. Only for states that a socket enters in its own process. */
static __always_inline struct sl_connection *connection_claim(const struct sock *sk, bool listens)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_task *entry = task_of_sandbox(task);
	struct sl_connection *connection;

	if (!entry)
		return NULL;
	connection = connection_of(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection) {
		count_lost(share_of(entry->sandbox), SL_KIND_CONNECTION_CLOSED, 1);
		return NULL;
	}
	fill_header(&connection->hdr, task, entry, SL_KIND_CONNECTION_CLOSED, 0, sizeof(struct sl_closed));
	connection->incoming = listens;
	connection->established = 0;
	connection->since_ns = 0;
	return connection;
}

/* The kernel forgets some of it before it tells of the end. */
static __always_inline void connection_establish(struct sl_connection *connection, const struct sock *sk, __u64 since_ns)
{
	connection->since_ns = since_ns;
	connection->established = 1;
	connection->port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	connection->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	put_remote_address(connection->addr, (struct sock *)sk);
}

/* The peer's FIN takes a number like a byte does, and the kernel counts it as one. */
static __always_inline __u64 bytes_received(const struct sock *sk)
{
	__u64 bytes = BPF_CORE_READ((struct tcp_sock *)sk, bytes_received);
	__u64 done = 1ull << bpf_core_enum_value(enum sock_flags, SOCK_DONE);

	return bytes && BPF_CORE_READ(sk, __sk_common.skc_flags) & done ? bytes - 1 : bytes;
}

static __always_inline void connection_closed(struct sl_connection *connection, const struct sock *sk)
{
	struct sl_counters *count = counters();
	struct sl_share *share;
	struct sl_closed *rec;
	__u64 seq;

	if (!count)
		return;
	connection->established = 0;
	seq = count_attempt(count, SL_KIND_CONNECTION_CLOSED);
	share = share_of(connection->hdr.sandbox);
	rec = has_room(share, SL_RING_BULK) ? bpf_ringbuf_reserve(&sl_ring_bulk, sizeof(*rec), 0) : NULL;
	if (!rec) {
		count_dropped(share, SL_KIND_CONNECTION_CLOSED);
		return;
	}
	count_told(share, SL_KIND_CONNECTION_CLOSED, SL_RING_BULK, sizeof(*rec));
	rec->hdr = connection->hdr;
	rec->hdr.cpu = bpf_get_smp_processor_id();
	rec->hdr.cpu_seq = seq;
	rec->hdr.time_ns = bpf_ktime_get_boot_ns();
	rec->cookie = bpf_get_socket_cookie((void *)sk);
	rec->bytes_sent = BPF_CORE_READ((struct tcp_sock *)sk, bytes_sent) - BPF_CORE_READ((struct tcp_sock *)sk, bytes_retrans);
	rec->bytes_received = bytes_received(sk);
	rec->duration_ns = connection->since_ns ? rec->hdr.time_ns - connection->since_ns : 0;
	__builtin_memcpy(rec->addr, connection->addr, sizeof(rec->addr));
	rec->port = connection->port;
	rec->local_port = connection->local_port;
	rec->incoming = connection->incoming;
	rec->pad = 0;
	bpf_ringbuf_submit(rec, 0);
}

/* Of those that a limit is about (limit.bpf.c has the ones that end before they begin). */
static __always_inline void connection_over(const struct sock *sk)
{
	struct sl_socket *socket = is_anyone_limited() ? bpf_sk_storage_get(&sl_sockets, (void *)sk, 0, 0) : NULL;

	if (socket && socket->counted)
		forget_connection(socket, bpf_get_socket_cookie((void *)sk));
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sl_tcp_state, const struct sock *sk, const int oldstate, const int newstate)
{
	struct sl_connection *connection;

	if (sk->sk_protocol != IPPROTO_TCP || !is_our_turn(TURN_TCP_STATE))
		return 0;
	switch (newstate) {
	case TCP_SYN_SENT:
	case TCP_LISTEN:
		connection_claim(sk, newstate == TCP_LISTEN);
		break;
	case TCP_ESTABLISHED:
		connection = connection_of(sk, 0);
		if (connection)
			connection_establish(connection, sk, bpf_ktime_get_boot_ns());
		break;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		if (connection_of(sk, 0))
			break;
		connection = connection_claim(sk, false);
		if (connection)
			connection_establish(connection, sk, 0);
		break;
	case TCP_CLOSE:
		connection_over(sk);
		connection = connection_of(sk, 0);
		if (connection && connection->established && oldstate != TCP_LISTEN)
			connection_closed(connection, sk);
		break;
	}
	return 0;
}
