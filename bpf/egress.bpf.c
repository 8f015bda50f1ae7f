// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Where tasks of ours connect and send to. For TCP, UDP and UDP-Lite the cgroup hooks see the address in the kernel's own copy, which
 * the caller can't change any more; sys_exit knows the result. So the hook keeps the address for the thread and sys_exit makes the
 * event. What no hook sees (every other family and protocol, calls that fail before the hook) is read at sys_exit from the caller's
 * memory, which another thread can have changed by then: such an event doesn't claim to have the kernel's address.
 *
 * The hooks sit at the cgroup root, because what counts is the task that connects and not the cgroup its socket was made in. They refuse
 * what the policy of its sandbox denies, and all that a sandbox in quarantine sends. What io_uring does comes by these hooks too, and is
 * told by uring.bpf.c. Not seen are sends that name no destination, because their socket was connected, and what a raw or packet
 * socket writes into its own headers; verdict.bpf.c sees the packets of most of these.
 */
#include "identity.bpf.h"
#include "loop.bpf.h"
#include "send.bpf.h"
#include "sockaddr.bpf.h"
#include "syscall.bpf.h"
#include "redirect.bpf.h"
#include "unix_verdict.bpf.h"
#include "verdict.bpf.h"
#include "pending.bpf.h"
#include "wait.bpf.h"

#define EIO 5

#define MESSAGES_MAX 1024 /* UIO_MAXIOV: sendmmsg takes no more in one call */
#define MMSGHDR_BYTES 64
#define MMSGHDR_BYTES_COMPAT 32

/*
 * Where to keep the address, NULL if nobody will ask for it: the task is not ours, or it connects by a call whose end does not come
 * by our sys_exit (io_uring). What was kept for an earlier call is void from here on. A sendmmsg comes by once a message, and comes
 * again only if the one before was sent.
 */
static __always_inline struct sl_pending_connect *pending_of_current(__u8 *ret_kind)
{
	struct sl_pending_connect *pending = place_at(bpf_get_current_task());
	struct task_struct *task;
	struct call_shape shape;
	__u32 messages = 0;

	if (!pending)
		return NULL;
	task = bpf_get_current_task_btf();
	if (!is_place_of(pending, task))
		return NULL;
	shape = call_shape(task, (struct pt_regs *)bpf_task_pt_regs(task));
	if (shape.kind == CALL_SEND && shape.op == SEND_MMSG) {
		if (pending->state == SL_CONNECT_PENDING && pending->messages) {
			messages = pending->messages;
			pending_send(pending, 0);
		}
		messages++;
	}
	pending->messages = messages;
	pending->state = SL_CONNECT_NONE;
	*ret_kind = shape.kind;
	return shape.kind == CALL_CONNECT || shape.kind == CALL_SEND ? pending : NULL;
}

/* One body for the four hooks; a hook may read the address of its own family only, so the other must be compiled away. */
static __always_inline int on_address(struct bpf_sock_addr *ctx, const __u8 via, const __u32 family)
{
	struct sl_pending_connect *place = place_of_current(), *pending;
	struct flow flow = {};
	struct bpf_sock *sk;
	__u16 gateway_port = 0;
	__u8 call_kind = 0;
	__u8 addr[16];
	__u32 words[4];

	if (!place)
		return is_egress_refused() ? REFUSE : LET_THROUGH;
	if (family == AF_INET) {
		put_ip4(addr, ctx->user_ip4);
	} else {
		words[0] = ctx->user_ip6[0];
		words[1] = ctx->user_ip6[1];
		words[2] = ctx->user_ip6[2];
		words[3] = ctx->user_ip6[3];
		__builtin_memcpy(addr, words, sizeof(addr));
	}
	sk = ctx->sk;
	flow.to.sandbox = place->sandbox;
	__builtin_memcpy(flow.to.addr, addr, sizeof(addr));
	flow.port = bpf_ntohs(ctx->user_port);
	flow.protocol = ruled_protocol(ctx->protocol);
	if (!for_gateway(ctx, &flow, place->exec_count, &gateway_port))
		judge_call(ctx, sk, &flow, place, via);
	if (sk)
		expect_answers(sk, &flow, place->exec_count);
	pending = pending_of_current(&call_kind);
	if (pending) {
		__builtin_memcpy(pending->addr, addr, sizeof(pending->addr));
		pending->port = flow.port;
		pending->family = ctx->family;
		pending->protocol = ctx->protocol;
		pending->type = ctx->type;
		pending->local_port = sk ? sk->src_port : 0;
		pending->cookie = bpf_get_socket_cookie(ctx);
		pending->verdict = flow.verdict;
		pending->why = flow.why;
		pending->rule = flow.rule;
		pending->generation = flow.generation;
		pending->stops = flow.stops == SL_STOP_FROZEN ? SL_STOP_FROZEN : SL_STOP_NONE;
		pending->wait_us = flow.wait_us;
		pending->via = via;
		pending->state = SL_CONNECT_PENDING;
	}
	if (via == SL_VIA_CONNECT && has_to_wait(&flow, pending, call_kind) && !bpf_set_retval(-ERESTARTNOINTR))
		pending->stops = SL_STOP_TURN;
	if (flow.verdict == SL_VERDICT_REDIRECT)
		send_to_gateway(ctx, addr, gateway_port, family);
	return flow.verdict == SL_VERDICT_DENY ? REFUSE : LET_THROUGH;
}

SEC("cgroup/connect4")
int sl_connect4(struct bpf_sock_addr *ctx)
{
	return on_address(ctx, SL_VIA_CONNECT, AF_INET);
}

SEC("cgroup/connect6")
int sl_connect6(struct bpf_sock_addr *ctx)
{
	return on_address(ctx, SL_VIA_CONNECT, AF_INET6);
}

SEC("cgroup/sendmsg4")
int sl_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_address(ctx, SL_VIA_SENDMSG, AF_INET);
}

SEC("cgroup/sendmsg6")
int sl_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_address(ctx, SL_VIA_SENDMSG, AF_INET6);
}

static __always_inline void pending_connect(struct task_struct *task, const struct sl_task *entry, const struct call *call,
					    const struct sl_pending_connect *pending)
{
	struct sock *sk = sock_of_fd(task, call_arg(call, call->shape.dir));
	struct sl_counters *count = counters();
	struct sl_share *share;
	struct sl_connect *rec;
	__u64 seq;

	if (!count)
		return;
	/* The descriptor can lead elsewhere by now; MPTCP connects by a socket of its own, which has another cookie. */
	if (pending->protocol != IPPROTO_MPTCP && (__u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) != pending->cookie)
		sk = NULL;
	seq = count_attempt(count, SL_KIND_CONNECT);
	share = share_of(entry->sandbox);
	rec = reserve_connect(share, pending->verdict);
	if (!rec)
		return;
	__builtin_memset(rec, 0, sizeof(*rec));
	fill_header(&rec->hdr, task, entry, SL_KIND_CONNECT, seq, sizeof(*rec));
	rec->cookie = pending->cookie;
	__builtin_memcpy(rec->addr, pending->addr, sizeof(rec->addr));
	rec->last_ns = rec->hdr.time_ns;
	rec->count = 1;
	rec->error = error_of(call->ret);
	rec->port = pending->port;
	rec->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	rec->family = pending->family;
	rec->protocol = pending->protocol;
	rec->type = pending->type;
	rec->via = SL_VIA_CONNECT;
	rec->flags = SL_CONNECT_KERNEL_ADDR;
	put_pending_verdict(rec, pending);
	bpf_ringbuf_submit(rec, 0);
}

/*
 * A call that was over its limit, and stops who made it before its next instruction: what can't be kept as stopped is not, as nobody would let it
 * go on; the call was refused all the same. A global function: its stack is not there below the others'.
 */
__noinline int stop_if_over(struct sl_task *entry)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_pending_connect *pending = place_at((__u64)task);
	struct task_struct *leader;

	if (!entry || !pending || pending->state == SL_CONNECT_NONE || !pending->stops)
		return 0;
	leader = BPF_CORE_READ(task, group_leader);
	if (pending->stops == SL_STOP_TURN) {
		stop_until_turn(entry, leader, task->tgid, pending->wait_us);
		return 0;
	}
	if (!keep_held(entry->sandbox, (__u64)leader, process_start(leader), task->tgid, bpf_ktime_get_ns() + STOP_NS))
		return 0;
	entry->flags |= SL_TASK_HELD;
	bpf_send_signal(SIGSTOP);
	return 0;
}

/* Not 0 if a hook saw the call, and its event is made. A global function: its stack is not there below those of what no hook saw. */
__noinline int pending_emit(const struct sl_task *entry, const struct call *call)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_pending_connect *pending = place_at((__u64)task);
	__u32 error, fd;

	if (!entry || !call || !pending || pending->state == SL_CONNECT_NONE || pending->state == SL_CONNECT_UNIX)
		return false;
	fd = call_arg(call, call->shape.dir);
	error = error_of(call->ret);
	/* A call that is made again does not come by the hook again; another socket's call is none of its business. */
	if (pending->state == SL_CONNECT_INTERRUPTED && (call->shape.kind != CALL_CONNECT || pending->fd != fd)) {
		pending->state = SL_CONNECT_NONE;
		return false;
	}
	pending->fd = fd;
	/* It comes by the hook again, which is when it is told. */
	if (pending->stops == SL_STOP_TURN && is_restarting(call->ret)) {
		pending->state = SL_CONNECT_NONE;
		return true;
	}
	if (pending->via == SL_VIA_CONNECT) {
		pending->state = is_restarting(call->ret) ? SL_CONNECT_INTERRUPTED : SL_CONNECT_NONE;
		if (pending->verdict != SL_VERDICT_DENY || !error || !refused_connect(pending, error))
			pending_connect(task, entry, call, pending);
		return true;
	}
	pending->state = SL_CONNECT_NONE;
	/* A sendmmsg that had sent something keeps the error of the message it stopped at to itself. */
	if (call->ret >= 0 && pending->messages > (__u32)call->ret)
		error = EIO;
	pending_send(pending, error);
	return true;
}

/* A connect whose address no hook kept. A Unix socket that is connected knows where to; of all others there is only what was passed. */
static __always_inline void plain_connect(struct task_struct *task, const struct sl_task *entry, struct user_address *user,
					  __u32 fd, __u32 error, __u8 via)
{
	struct call_scratch *scratch = call_scratch();
	struct sl_counters *count = counters();
	struct sock *sk = sock_of_fd(task, fd);
	struct sl_connect *rec;
	__u32 end = sizeof(*rec);
	struct unix_sock *peer;

	if (!count || !scratch)
		return;
	rec = (struct sl_connect *)scratch->bytes;
	__builtin_memset(rec, 0, sizeof(*rec));
	fill_socket(rec, sk);
	if (rec->family == AF_UNIX && !error && via == SL_VIA_CONNECT) {
		peer = (struct unix_sock *)BPF_CORE_READ((struct unix_sock *)sk, peer);
		end = append_unix_name(scratch, end, peer);
	}
	if (!(rec->flags & SL_CONNECT_KERNEL_ADDR))
		end = append_user_address(scratch, end, user);
	rec->count = 1;
	rec->error = error;
	rec->via = via;
	put_unix_verdict(rec, task);
	fill_header(&rec->hdr, task, entry, SL_KIND_CONNECT, count_attempt(count, SL_KIND_CONNECT), end);
	rec->last_ns = rec->hdr.time_ns;
	submit_call(scratch, SL_KIND_CONNECT, end);
}

/*
 * A send that no hook saw, of one message with its destination in the caller's memory. A global function: the verifier goes through
 * it once, and not once a message.
 */
__noinline int plain_send(__u64 name, __u32 name_len, __u32 fd, __u32 error)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct user_address user = {.at = name, .len = name_len};
	struct sl_task *entry = task_of_sandbox(task);
	struct sock *sk = sock_of_fd(task, fd);
	struct sl_counters *count = counters();
	struct sl_send_slot *now;
	struct sl_sends *sends;

	/* A stream has no use for a destination: what is given is ignored or refused. */
	if (!entry || !count || !look_at_address(&user) || BPF_CORE_READ(sk, sk_type) == SOCK_STREAM)
		return 0;
	if (user.is_relative) { /* what it means depends on the current directory, so it is not folded */
		plain_connect(task, entry, &user, fd, error, SL_VIA_SENDMSG);
		return 0;
	}
	sends = sends_of(task);
	if (!sends) {
		count_lost(share_of(entry->sandbox), SL_KIND_CONNECT, 1);
		return 0;
	}
	now = &sends->now;
	send_begin(now, task, entry);
	fill_socket(&now->rec, sk);
	now->sock = (__u64)sk;
	now->rec.error = error;
	/* A raw socket takes an address without a family for one of its own. */
	if (is_inet(user.family) || (user.family == AF_UNSPEC && is_inet(now->rec.family))) {
		fill_user_inet(&now->rec, &user, user.family ?: now->rec.family);
		judge_afterwards(&now->rec, entry->sandbox);
	} else {
		now->rec.sockaddr_len = copy_user_sockaddr(now->sockaddr, &user);
		put_unix_verdict(&now->rec, task);
	}
	return send_end(sends);
}

/* A send whose destination is in a struct msghdr, or in the one of 32 bits. Global as above. */
__noinline int plain_message(__u64 header, __u32 is_narrow, __u32 fd, __u32 error)
{
	struct {
		__u64 name;
		__u32 len;
	} message = {};
	__u32 compat[2] = {};

	if (is_narrow) {
		bpf_probe_read_user(compat, sizeof(compat), (void *)header);
		message.name = compat[0];
		message.len = compat[1];
	} else {
		bpf_probe_read_user(&message, 12, (void *)header);
	}
	return message.name ? plain_send(message.name, message.len, fd, error) : 0;
}

/* The messages of a sendmmsg that were sent. */
struct message_step {
	__u64 at;
	__u32 sent;
	__u32 fd;
	bool is_narrow;
};

static long next_message(__u32 index, void *context)
{
	const struct message_step *step = context;
	__u32 bytes = step->is_narrow ? MMSGHDR_BYTES_COMPAT : MMSGHDR_BYTES;

	if (index >= step->sent)
		return 1;
	plain_message(step->at + (__u64)index * bytes, step->is_narrow, step->fd, 0);
	return 0;
}

static __always_inline void connect_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct user_address user = {.at = call_arg(call, call->shape.path), .len = call_arg(call, call->shape.flags)};
	__u32 fd = call_arg(call, call->shape.dir);
	__u32 error = error_of(call->ret);

	if (pending_emit(entry, call))
		return;
	if (!error)
		check_peer(task, fd);
	/* An address without a family takes a connection back. */
	if (!is_no_socket(error) && look_at_address(&user) && user.family != AF_UNSPEC)
		plain_connect(task, entry, &user, fd, error, SL_VIA_CONNECT);
	forget_unix_verdict(task);
}

static __always_inline void send_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	__u64 at = call_arg(call, call->shape.path); /* of the address, of a message, or of many */
	__u32 fd = call_arg(call, call->shape.dir);
	struct message_step messages = {.at = at, .fd = fd, .is_narrow = call->narrow};
	__u32 error = error_of(call->ret);

	if (pending_emit(entry, call) || is_no_socket(error))
		return;
	if (call->shape.op == SEND_TO) {
		if (at)
			plain_send(at, call_arg(call, call->shape.flags), fd, error);
	} else if (call->shape.op == SEND_MSG || call->ret <= 0) {
		plain_message(at, call->narrow, fd, error);
	} else {
		messages.sent = call->ret;
		LOOP(MESSAGES_MAX, MESSAGES_MAX, next_message, &messages);
	}
	forget_unix_verdict(task);
}
