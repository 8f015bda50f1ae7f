/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the hooks of unix.bpf.c said of a connect or a send, when the call is over: for its record, and compared with what was found. */
#ifndef SLUICE_UNIX_VERDICT_BPF_H
#define SLUICE_UNIX_VERDICT_BPF_H

#include "sockaddr.bpf.h"
#include "verdict.bpf.h"

/*
 * A connect to a Unix socket of the sandbox's own that is over, and led to another one: the name was made to lead elsewhere after the
 * hook. Before its next instruction the process is killed.
 */
static __always_inline void check_peer(struct task_struct *task, __u32 fd)
{
	struct sl_pending_connect *pending = place_at((__u64)task);
	struct policy_now policy;
	struct unix_sock *peer;

	if (!pending || pending->state != SL_CONNECT_UNIX || !pending->peer)
		return;
	peer = (struct unix_sock *)BPF_CORE_READ((struct unix_sock *)sock_of_fd(task, fd), peer);
	if ((__u64)BPF_CORE_READ(peer, addr) == pending->peer)
		return;
	pending->why = SL_WHY_UNIX;
	pending->verdict = SL_VERDICT_WOULD_DENY;
	if (policy_of(pending->sandbox, &policy) && policy.flags & SL_POLICY_ENFORCED) {
		pending->verdict = SL_VERDICT_DENY;
		bpf_send_signal(SIGKILL);
	}
}

/* What the hook for Unix sockets said of the call that is over. */
static __always_inline void put_unix_verdict(struct sl_connect *rec, struct task_struct *task)
{
	struct sl_pending_connect *pending = place_at((__u64)task);

	if (pending && pending->state == SL_CONNECT_UNIX)
		put_pending_verdict(rec, pending);
}

static __always_inline void forget_unix_verdict(struct task_struct *task)
{
	struct sl_pending_connect *pending = place_at((__u64)task);

	if (pending && pending->state == SL_CONNECT_UNIX)
		pending->state = SL_CONNECT_NONE;
}

#endif
