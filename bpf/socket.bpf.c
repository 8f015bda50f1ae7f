// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sockets that are made, of every family, and sockets that others can reach: listen(2), and bind(2) of a socket that needs no listen.
 * The local address is the socket's own where the call succeeded, and what was passed where it failed.
 *
 * Of a sandbox whose policy is enforced, a socket of a family or protocol that no rule could allow is refused where a hook sees it made
 * (verdict.bpf.c), and kills who made it where none does: before its next instruction, but another thread may have used it by then.
 *
 * A socket that comes in from another process is noted as the sandbox's (lent.bpf.h).
 *
 * Not told, because they reach nobody: pairs of Unix sockets; a bind of netlink, which every program that looks up a name does; a
 * bind of a stream, which is a client's, or is told by the listen that follows.
 */
#include "emit.bpf.h"
#include "lent.bpf.h"
#include "sockaddr.bpf.h"
#include "syscall.bpf.h"
#include "unix.bpf.h"
#include "verdict.bpf.h"

static __always_inline struct sl_connect *socket_begin(struct call_scratch *scratch, const struct call *call)
{
	struct sl_connect *rec = (struct sl_connect *)scratch->bytes;

	__builtin_memset(rec, 0, sizeof(*rec));
	rec->count = 1;
	rec->error = error_of(call->ret);
	return rec;
}

static __always_inline void socket_end(struct call_scratch *scratch, struct task_struct *task, const struct sl_task *entry,
				       __u32 kind, __u32 end)
{
	struct sl_connect *rec = (struct sl_connect *)scratch->bytes;
	struct sl_counters *count = counters();

	if (!count)
		return;
	fill_header(&rec->hdr, task, entry, kind, count_attempt(count, kind), end);
	rec->last_ns = rec->hdr.time_ns;
	submit_call(scratch, kind, end);
}

/* What was asked for lies in memory for a socketcall, where another thread can have changed it: the socket itself is asked too. */
static __always_inline bool is_other_socket(struct task_struct *task, const struct sl_connect *rec, __u32 fd)
{
	struct sock *sk = rec->error ? NULL : sock_of_fd(task, fd);

	return sk && BPF_CORE_READ(sk, __sk_common.skc_family) != rec->family;
}

static __always_inline void socket_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct call_scratch *scratch = call_scratch();
	__u32 family = call->args[0];
	struct sl_connect *rec;

	if (!scratch || (call->shape.op == SOCKET_PAIR && family == AF_UNIX && call->ret >= 0))
		return;
	rec = socket_begin(scratch, call);
	rec->type = call->args[1] & SOCK_TYPE_MASK;
	rec->family = made_family(family, rec->type);
	rec->protocol = call->args[2];
	rec->via = SL_VIA_SOCKET;
	if (is_other_socket(task, rec, call->ret))
		fill_socket(rec, sock_of_fd(task, call->ret));
	if (judge_made(rec, entry->sandbox) && !rec->error)
		bpf_send_signal(SIGKILL);
	socket_end(scratch, task, entry, SL_KIND_SOCKET, sizeof(*rec));
}

static __always_inline void listen_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct user_address user = {.at = call_arg(call, call->shape.path), .len = call_arg(call, call->shape.flags)};
	struct sock *sk = sock_of_fd(task, call_arg(call, call->shape.dir));
	struct call_scratch *scratch = call_scratch();
	struct sl_connect *rec;
	__u32 end = sizeof(*rec);
	bool is_bind = call->shape.kind == CALL_BIND;

	if (!scratch)
		return;
	rec = socket_begin(scratch, call);
	if (is_no_socket(rec->error))
		return;
	fill_socket(rec, sk);
	if (is_bind && !rec->error && rec->family == AF_UNIX && is_policed(entry->sandbox))
		remember_bound(entry->sandbox, (__u64)sk);
	if (is_bind && !rec->error && is_silent_bind(rec))
		return;
	if (is_bind && rec->error) {
		if (look_at_address(&user))
			end = append_user_address(scratch, end, &user);
	} else if (is_inet(rec->family)) {
		put_local_address(rec->addr, sk);
		rec->port = rec->local_port;
		rec->flags = SL_CONNECT_KERNEL_ADDR;
	} else if (rec->family == AF_UNIX) {
		end = append_unix_name(scratch, end, (struct unix_sock *)sk);
	} else if (is_bind && look_at_address(&user)) {
		end = append_user_address(scratch, end, &user);
	}
	socket_end(scratch, task, entry, SL_KIND_LISTEN, end);
}

/* A read or an accept by which a socket can have come in. */
static __always_inline void receive_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct sock *sk;
	int is_forbidden;

	if (call->ret < 0 || !is_policed(entry->sandbox))
		return;
	if (call->shape.kind == CALL_RECEIVE && call->shape.op == RECEIVE_RESULT) {
		is_forbidden = note_descriptor_of_current(call->ret, entry->sandbox, LENT_BY_CALL);
	} else {
		sk = sock_of_fd(task, call_arg(call, call->shape.dir));
		if (sk && BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
			return;
		is_forbidden = note_sockets(task, entry->sandbox, LENT_BY_CALL);
	}
	if (is_forbidden)
		bpf_send_signal(SIGKILL);
}
