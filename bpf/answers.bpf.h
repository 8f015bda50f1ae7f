/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which sockets answers to names are read from: those by which a task of a sandbox asked on port 53 and was not sent to the gateway. */
#ifndef SLUICE_ANSWERS_BPF_H
#define SLUICE_ANSWERS_BPF_H

#include "verdict.bpf.h"

#define DNS_PORT 53

/* sl_asked: storage of such a socket: who asked by it, last. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sl_event_hdr);
} sl_asked SEC(".maps");

/* Telemetry only: a socket for which there is no room is one whose answers are not read, and counted. */
static __always_inline void expect_answers(struct bpf_sock *sk, const struct flow *flow, __u32 exec_count)
{
	struct sl_task entry = {.sandbox = flow->to.sandbox, .exec_count = exec_count};
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_event_hdr *owner;

	if (flow->port != DNS_PORT || flow->verdict == SL_VERDICT_DENY || flow->verdict == SL_VERDICT_REDIRECT)
		return;
	if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP)
		return;
	owner = bpf_sk_storage_get(&sl_asked, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!owner) {
		count_lost(share_of(entry.sandbox), SL_KIND_DNS, 1);
		return;
	}
	owner->kind = SL_KIND_DNS;
	owner->cgroup_id = cgroup_id(cgroup_of(task));
	fill_task(owner, task, &entry);
}

#endif
