/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where a sandbox's queries for names are taken: at ports of loopback, which each network namespace has for itself. Says whether there is
 * such a door in a namespace, and asks user space for one where there is none. It sends nothing anywhere (redirect.bpf.h).
 */
#ifndef SLUICE_DOORS_BPF_H
#define SLUICE_DOORS_BPF_H

#include "maps.bpf.h"
#include "redirect_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_REDIRECTS_MAX);
	__type(key, struct sl_redirect_key);
	__type(value, struct sl_redirect);
} sl_redirects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_GATEWAY_PORTS_MAX);
	__type(key, struct sl_gateway_port);
	__type(value, __u64);
} sl_gateway_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_DOORS_WANTED_MAX);
	__type(key, struct sl_redirect_key);
	__type(value, struct sl_door_wanted);
} sl_doors_wanted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_gateway);
} sl_gateway SEC(".maps");

/* NULL as long as nothing is redirected: nothing else is looked at then. */
static __always_inline struct sl_gateway *gateway_in_use(void)
{
	__u32 zero = 0;
	struct sl_gateway *gateway = bpf_map_lookup_elem(&sl_gateway, &zero);

	return gateway && gateway->redirecting ? gateway : NULL;
}

/* `netns` 0: whether the sandbox is redirected at all, and how. */
static __always_inline struct sl_redirect *redirect_in(__u64 sandbox, __u64 netns)
{
	struct sl_redirect_key key = {.sandbox = sandbox, .netns = netns};

	return bpf_map_lookup_elem(&sl_redirects, &key);
}

/* Asked for once; what has no room is refused without a door. */
static __always_inline void want_door(__u64 sandbox, __u64 netns)
{
	struct sl_redirect_key key = {.sandbox = sandbox, .netns = netns};
	struct sl_door_wanted wanted = {.tid = bpf_get_current_task_btf()->pid};

	bpf_map_update_elem(&sl_doors_wanted, &key, &wanted, BPF_NOEXIST);
}

/* A program begins in a namespace: most have time to spare before they ask for their first name. */
static __always_inline void look_for_door(struct task_struct *task, __u64 sandbox)
{
	__u64 netns;

	if (!gateway_in_use() || !redirect_in(sandbox, 0))
		return;
	netns = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie);
	if (netns && !redirect_in(sandbox, netns))
		want_door(sandbox, netns);
}

#endif
