/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a sandbox's policy says of a flow: deny before own listener, lease and allow, and these before the default, which is deny. Whatever
 * is not known denies. Pure: it reads the maps, and neither refuses nor tells anything (verdict.bpf.h).
 */
#ifndef SLUICE_POLICY_BPF_H
#define SLUICE_POLICY_BPF_H

#include "maps.bpf.h"
#include "policy_abi.h"

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_MPTCP 262

#define WHOLE_ADDRESS 128 /* bits */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_policy_state);
} sl_policy_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_POLICIES_MAX);
	__type(key, __u64);
	__type(value, struct sl_sandbox_policy);
} sl_sandbox_policies SEC(".maps");

struct sl_policy_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	/* By size: behind a map of maps clang leaves the types' fields out of the type information. */
	__uint(key_size, sizeof(struct sl_net_key));
	__uint(value_size, sizeof(struct sl_net));
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, SL_POLICIES_MAX);
	__type(key, __u32);
	__array(values, struct sl_policy_trie);
} sl_policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_LEASES_MAX);
	__type(key, struct sl_lease_key);
	__type(value, struct sl_leases);
} sl_leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_PROGRAMS_MAX);
	__type(key, struct sl_program_key);
	__type(value, __u32);
} sl_programs SEC(".maps");

/* What of its entry a verdict takes. */
struct policy_now {
	__u32 policy;
	__u32 generation;
	__u32 flags;
};

enum loopback {
	LOOPBACK_NOT, /* it goes somewhere else */
	LOOPBACK_OTHERS, /* to nobody, or to a socket that is not known to be the sandbox's own */
	LOOPBACK_OWN,
};

/* Where something is to go, and what the policy says of that. */
struct flow {
	struct sl_lease_key to; /* the sandbox, and the address in network order, IPv4 as ::ffff:a.b.c.d */
	__u16 port; /* host order; 0 where the protocol has none */
	__u8 protocol; /* as sl_ports; 0 = one that no rule can allow */
	__u8 loopback; /* enum loopback */
	__u8 verdict; /* enum sl_verdict */
	__u8 why; /* enum sl_why */
	__u16 stops; /* enum sl_stop */
	__u32 rule;
	__u32 generation;
	__u32 wait_us; /* SL_STOP_TURN: until its turn */
	__u32 pad;
};

/* False as long as no sandbox has a policy: nothing else is looked at then. */
static __always_inline bool is_anyone_policed(void)
{
	__u32 zero = 0;
	struct sl_policy_state *state = bpf_map_lookup_elem(&sl_policy_state, &zero);

	return state && state->policed;
}

static __always_inline bool copy_policy(__u64 sandbox, const volatile struct sl_sandbox_policy *from,
					struct policy_now *ret_policy)
{
	ret_policy->policy = from->policy;
	ret_policy->generation = from->generation;
	ret_policy->flags = from->flags;
	barrier();
	return from->sandbox == sandbox && from->sandbox_again == sandbox;
}

/* False: it has none. One that is being written anew whenever it is looked at denies everything. */
static __always_inline bool policy_of(__u64 sandbox, struct policy_now *ret_policy)
{
	struct sl_sandbox_policy *found = bpf_map_lookup_elem(&sl_sandbox_policies, &sandbox);

	if (!found)
		return false;
	if (copy_policy(sandbox, found, ret_policy))
		return true;
	found = bpf_map_lookup_elem(&sl_sandbox_policies, &sandbox);
	if (!found)
		return false;
	if (copy_policy(sandbox, found, ret_policy))
		return true;
	ret_policy->policy = 0;
	ret_policy->generation = 0;
	ret_policy->flags = SL_POLICY_ENFORCED;
	return true;
}

static __always_inline bool is_policed(__u64 sandbox)
{
	return bpf_map_lookup_elem(&sl_sandbox_policies, &sandbox);
}

/* A protocol as rules name it. UDP-Lite, SCTP, DCCP and all others are none of theirs. */
static __always_inline __u8 ruled_protocol(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
		return IPPROTO_TCP;
	case IPPROTO_UDP:
		return IPPROTO_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return IPPROTO_ICMP;
	}
	return 0;
}

static __always_inline void decide(struct flow *flow, __u8 verdict, __u8 why, __u32 rule)
{
	flow->verdict = verdict;
	flow->why = why;
	flow->rule = rule;
}

/*
 * The number of the rule by which the program is one of the policy's set; 0: it is not. `rule` has the set. A global function: the verifier
 * goes through it once, and not for each lease.
 */
__noinline int rule_for_program(const struct sl_program *program, __u32 generation, __u32 set, __u32 rule)
{
	struct sl_program_key key = {.generation = generation, .set = set};
	__u32 *found;

	if (!program || !program->inode)
		return 0;
	key.program = *program;
	found = bpf_map_lookup_elem(&sl_programs, &key);
	return found ? *found ?: rule : 0;
}

/* Allows it, unless the rule is for certain programs and this is none of them: then another rule may. */
static __always_inline bool allow_program(struct flow *flow, const struct sl_program *program, __u32 set, __u8 why, __u32 rule)
{
	__u32 named = set ? rule_for_program(program, flow->generation, set, rule) : rule;

	if (set && !named) {
		decide(flow, SL_VERDICT_DENY, SL_WHY_PROGRAM, rule);
		return false;
	}
	decide(flow, SL_VERDICT_ALLOW, why, named);
	return true;
}

/* What the rules for addresses say; false if none of them concerns the flow. Of those that allow, one at most is for a port. */
static __always_inline bool by_net(struct flow *flow, const struct sl_program *program, const struct sl_net *net)
{
	bool is_allowed = false;
	__u32 i, set = 0, rule = 0;

	for (i = 0; i < SL_PORTS_MAX; i++) {
		const struct sl_ports *ports = &net->ports[i];

		if (i >= net->count)
			break;
		if ((ports->protocol && ports->protocol != flow->protocol) || flow->port < ports->first ||
		    flow->port > ports->last)
			continue;
		if (ports->deny) {
			decide(flow, SL_VERDICT_DENY, SL_WHY_RULE, ports->rule);
			return true;
		}
		if (is_allowed || !flow->protocol)
			continue;
		set = ports->programs;
		rule = ports->rule;
		is_allowed = true;
	}
	return is_allowed && allow_program(flow, program, set, SL_WHY_RULE, rule);
}

static __always_inline bool by_lease(struct flow *flow, const struct sl_program *program)
{
	/* On the stack: before Linux 6.2 memory that a global function was given is no key. */
	struct sl_lease_key key = flow->to;
	struct sl_leases *leases = bpf_map_lookup_elem(&sl_leases, &key);
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 i;

	if (!leases || !flow->protocol)
		return false;
	for (i = 0; i < SL_LEASE_PORTS_MAX; i++) {
		const struct sl_lease *lease = &leases->leases[i];

		if (i >= leases->count)
			break;
		if (lease->generation != flow->generation || lease->expires_ns <= now || lease->protocol != flow->protocol ||
		    flow->port < lease->first || flow->port > lease->last)
			continue;
		if (allow_program(flow, program, lease->programs, SL_WHY_LEASE, lease->rule))
			return true;
	}
	return false;
}

static __always_inline bool is_open_listener(const struct flow *flow, __u32 flags)
{
	if (flow->loopback == LOOPBACK_OWN)
		return flags & (SL_POLICY_OWN_LISTENERS | SL_POLICY_ANY_LISTENERS);
	return flow->loopback == LOOPBACK_OTHERS && flags & SL_POLICY_ANY_LISTENERS;
}

static __always_inline struct sl_net *net_of(void *trie, const struct flow *flow)
{
	struct sl_net_key key = {.prefix_length = WHOLE_ADDRESS};

	__builtin_memcpy(key.addr, flow->to.addr, sizeof(key.addr));
	return bpf_map_lookup_elem(trie, &key);
}

static __always_inline void by_policy(struct flow *flow, const struct sl_program *program, const struct policy_now *policy)
{
	__u32 id = policy->policy;
	void *trie = bpf_map_lookup_elem(&sl_policies, &id);
	struct sl_net *net;
	bool is_ruled;

	if (!trie) {
		decide(flow, SL_VERDICT_DENY, policy->flags & SL_POLICY_HELD ? SL_WHY_HELD : SL_WHY_STATE, 0);
		return;
	}
	net = net_of(trie, flow);
	is_ruled = net && by_net(flow, program, net);
	if (is_ruled && flow->verdict == SL_VERDICT_DENY)
		return;
	if (is_open_listener(flow, policy->flags))
		decide(flow, SL_VERDICT_ALLOW, SL_WHY_LISTENER, 0);
	else if (is_ruled || by_lease(flow, program))
		return;
	else if (flow->why != SL_WHY_PROGRAM)
		decide(flow, SL_VERDICT_DENY, flow->protocol ? SL_WHY_DEFAULT : SL_WHY_PROTOCOL, 0);
}

/*
 * Fills in the verdict of the sandbox's policy. A global function: the verifier goes through it once.
 * @program that asks; NULL: not known
 */
__noinline int judge(struct flow *flow, const struct sl_program *program, const struct policy_now *policy)
{
	if (!flow || !policy)
		return 0;
	flow->generation = policy->generation;
	flow->why = SL_WHY_DEFAULT;
	by_policy(flow, program, policy);
	if (flow->verdict == SL_VERDICT_DENY && !(policy->flags & SL_POLICY_ENFORCED))
		flow->verdict = SL_VERDICT_WOULD_DENY;
	return 0;
}

#endif
