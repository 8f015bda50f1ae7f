/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Records of calls that a hook kept the address of: sends, and connects that were refused, as they are folded (send.bpf.h). Connects that
 * were let through are egress.bpf.c's.
 */
#ifndef SLUICE_PENDING_BPF_H
#define SLUICE_PENDING_BPF_H

#include "send.bpf.h"
#include "verdict.bpf.h"

static __always_inline void put_pending(struct sl_connect *rec, const struct sl_pending_connect *pending, __u32 error)
{
	rec->cookie = pending->cookie;
	__builtin_memcpy(rec->addr, pending->addr, sizeof(rec->addr));
	rec->port = pending->port;
	rec->local_port = pending->local_port;
	rec->family = pending->family;
	rec->protocol = pending->protocol;
	rec->type = pending->type;
	rec->error = error;
	rec->flags = SL_CONNECT_KERNEL_ADDR;
	put_pending_verdict(rec, pending);
}

/* Tells or folds the send that is pending. Also called from the hook, which has no task storage to ask who the task is. */
static __noinline int pending_send(struct sl_pending_connect *pending, __u32 error)
{
	struct sl_task entry = {.sandbox = pending->sandbox, .exec_count = pending->exec_count};
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_sends *sends = sends_of(task);

	if (!sends) {
		count_lost(share_of(entry.sandbox), SL_KIND_CONNECT, 1);
		return 0;
	}
	send_begin(&sends->now, task, &entry);
	put_pending(&sends->now.rec, pending, error);
	return send_end(sends);
}

/* Tells or folds a connect that was refused; 0: there is no room to count it. A global function: the verifier goes through it once. */
__noinline int refused_connect(struct sl_pending_connect *pending, __u32 error)
{
	struct sl_task entry = {};
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_sends *sends;

	if (!pending)
		return 0;
	entry.sandbox = pending->sandbox;
	entry.exec_count = pending->exec_count;
	sends = sends_of(task);
	if (!sends)
		return 0;
	send_begin(&sends->now, task, &entry);
	put_pending(&sends->now.rec, pending, error);
	sends->now.rec.via = SL_VIA_CONNECT;
	send_end(sends);
	return 1;
}

#endif
