// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which Unix sockets a sandbox may connect or send to: those that it gave their names itself, and those that a rule names. The hooks come
 * before the kernel looks the name up. So what a connect found is compared once more when it is over; where it is another socket
 * than the one that was meant, the process is killed before its next instruction, though another holder of the socket could have
 * used it by then. The hooks are there since Linux 6.7.
 *
 * A rule is for the name as it is given, and says nothing of who put what there: it holds in the caller's own root of a mount namespace
 * that no user namespace of a sandbox's own can have made. Not judged: pairs, what comes by a connected socket, and who connects to the sandbox.
 */
#include "climb.bpf.h"
#include "emit.bpf.h"
#include "redirect.bpf.h"
#include "unix.bpf.h"
#include "verdict.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_UNIX_RULES_MAX);
	__type(key, struct sl_unix_key);
	__type(value, __u32);
} sl_unix_rules SEC(".maps");

/* What a hook was given. Addresses are the kernel's; nobody can change what is there during the call. */
struct unix_call {
	__u64 name;
	__u64 sock;
	__u64 sandbox;
	__u64 peer; /* found: the address of the name of the sandbox's own socket */
	__u32 len; /* of the name, without the NUL of a path */
	__u32 rule;
	bool is_abstract;
};

/* The hook's whole context, by way of memory, as whole_sock() of verdict.bpf.c. */
static __always_inline void read_unix_call(struct bpf_sock_addr *ctx, struct unix_call *call)
{
	struct bpf_sock_addr *kept = ctx;
	struct bpf_sock_addr_kern *kern = NULL;
	char first = 0;
	__u32 len;

	bpf_probe_read_kernel(&kern, sizeof(kern), &kept);
	len = BPF_CORE_READ(kern, uaddrlen);
	call->sock = (__u64)BPF_CORE_READ(kern, sk);
	call->name = (__u64)BPF_CORE_READ(kern, uaddr) + SUN_PATH_AT;
	call->len = len > SUN_PATH_AT ? len - SUN_PATH_AT : 0;
	if (call->len > SL_UNIX_NAME_MAX)
		call->len = SL_UNIX_NAME_MAX;
	bpf_probe_read_kernel(&first, sizeof(first), (void *)call->name);
	call->is_abstract = !first;
}

/* Global functions, here and below: the verifier goes through each once. A path ends at its first NUL, wherever the caller's address does; and `./` at its beginning says nothing. */
__noinline int trim_path(struct unix_call *call)
{
	char path[SL_UNIX_NAME_MAX + 1] = {};
	long read;

	if (!call)
		return 0;
	read = bpf_probe_read_kernel_str(path, sizeof(path), (void *)call->name);

	if (read > 0 && (__u32)read - 1 < call->len)
		call->len = read - 1;
	if (path[0] == '.' && path[1] == '/' && call->len > 2) {
		call->name += 2;
		call->len -= 2;
	}
	return 0;
}

static __always_inline bool is_at_top(struct dentry *dentry, struct mount *mount)
{
	struct mount *above;
	__u32 i;

#pragma unroll
	for (i = 0; i < SHOWN_STEPS; i++) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (dentry != BPF_CORE_READ(mount, mnt.mnt_root))
			return false;
		if (above == mount)
			return true;
		dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		mount = above;
	}
	return false;
}

/* Whether paths mean to the task what they mean to whoever wrote the rule. */
__noinline int has_usual_root(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (BPF_CORE_READ(task, nsproxy, mnt_ns, user_ns, level))
		return false;
	return is_at_top(BPF_CORE_READ(task, fs, root.dentry), mount_behind(BPF_CORE_READ(task, fs, root.mnt)));
}

__noinline int is_named_by_rule(struct unix_call *call, __u32 generation)
{
	struct sl_unix_key key = {.generation = generation};
	__u32 *rule;
	__u32 len;

	if (!call)
		return false;
	len = call->len;
	key.len = len;
	barrier_var(len);
	if (len > SL_UNIX_NAME_MAX)
		return false;
	bpf_probe_read_kernel(key.name, len, (void *)call->name);
	rule = bpf_map_lookup_elem(&sl_unix_rules, &key);
	if (!rule || (!call->is_abstract && !has_usual_root()))
		return false;
	call->rule = *rule;
	return true;
}

struct slash_step {
	__u64 name;
	__u32 last; /* behind the last slash */
	__u32 before; /* behind the one before */
};

static long next_slash(__u32 index, void *context)
{
	struct slash_step *step = context;
	char byte = 0;

	bpf_probe_read_kernel(&byte, 1, (void *)step->name + index);
	if (byte == '/') {
		step->before = step->last;
		step->last = index + 1;
	}
	return 0;
}

static __always_inline void copy_part(__u8 *to, __u64 from, __u32 len)
{
	barrier_var(len);
	if (len > HASHED_HALF - 1)
		len = HASHED_HALF - 1;
	bpf_probe_read_kernel(to, len, (void *)from);
}

/* As remember_bound() had it, from what the caller wrote. */
__noinline int slots_of_call(const struct unix_call *call)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct slash_step step = {};
	struct unix_end end = {};

	if (!call)
		return 0;
	step.name = call->name;
	if (call->is_abstract) {
		copy_abstract(&end, (void *)call->name, call->len);
		return slots_of(&end);
	}
	bpf_loop(call->len, next_slash, &step, 0);
	copy_part(end.name, call->name + step.last, call->len - step.last);
	if (!step.last)
		copy_name(end.parent,
			  shown_dentry(BPF_CORE_READ(task, fs, pwd.dentry), mount_behind(BPF_CORE_READ(task, fs, pwd.mnt))));
	else if (step.last == 1)
		end.parent[0] = '/';
	else
		copy_part(end.parent, call->name + step.before, step.last - 1 - step.before);
	return slots_of(&end);
}

__noinline int leads_to(const struct unix_call *call, __u64 bound)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct unix_sock *sk = (struct unix_sock *)bound;
	struct climb climb = {};
	char start = 0;

	if (!call)
		return false;
	climb.path = call->name;
	climb.end = call->len;
	climb.dentry = BPF_CORE_READ(sk, path.dentry);
	if (!climb.dentry)
		return false;
	climb.mount = mount_behind(BPF_CORE_READ(sk, path.mnt));
	bpf_probe_read_kernel(&start, sizeof(start), (void *)call->name);
	climb.is_absolute = start == '/';
	if (climb.is_absolute) {
		climb.base = BPF_CORE_READ(task, fs, root.dentry);
		climb.base_mount = mount_behind(BPF_CORE_READ(task, fs, root.mnt));
	} else {
		climb.base = BPF_CORE_READ(task, fs, pwd.dentry);
		climb.base_mount = mount_behind(BPF_CORE_READ(task, fs, pwd.mnt));
	}
	bpf_loop(COMPONENTS_MAX, climb_up, &climb, 0);
	return climb.fits;
}

/* An abstract name is one of a network namespace, and of one type of socket in it. */
__noinline int is_abstract_of(const struct unix_call *call, __u64 named)
{
	struct unix_sock *sk = (struct unix_sock *)named;
	struct unix_address *address = BPF_CORE_READ(sk, addr);
	struct sock *bound = (struct sock *)sk, *by;
	__u32 len;

	if (!call)
		return false;
	by = (struct sock *)call->sock;
	len = call->len;
	if (BPF_CORE_READ(sk, path.dentry) || (__u32)BPF_CORE_READ(address, len) != len + SUN_PATH_AT ||
	    BPF_CORE_READ(bound, sk_type) != BPF_CORE_READ(by, sk_type) ||
	    BPF_CORE_READ(bound, __sk_common.skc_net.net) != BPF_CORE_READ(by, __sk_common.skc_net.net))
		return false;
	return is_same_name((__u64)name_in(address), call->name, len);
}

__noinline int is_own_socket(struct unix_call *call)
{
	struct sl_unix_slot slot = {};
	__u32 first, way;

	if (!call)
		return false;
	slot.sandbox = call->sandbox;
	first = slots_of_call(call);
	for (way = 0; way < SL_UNIX_WAYS; way++) {
		struct sl_unix_bound *bound;
		struct unix_sock *sk;

		slot.slot = first + way;
		bound = bpf_map_lookup_elem(&sl_unix_bound, &slot);
		if (!bound || !is_bound_still(bound))
			continue;
		sk = (struct unix_sock *)bound->sock;
		if (call->is_abstract ? !is_abstract_of(call, bound->sock) : !leads_to(call, bound->sock))
			continue;
		call->peer = (__u64)BPF_CORE_READ(sk, addr);
		return call->peer != 0;
	}
	return false;
}

static __always_inline void judge_unix(struct unix_call *call, const struct policy_now *policy, struct flow *flow)
{
	flow->generation = policy->generation;
	if (!call->is_abstract)
		trim_path(call);
	if (is_named_by_rule(call, policy->generation))
		decide(flow, SL_VERDICT_ALLOW, SL_WHY_RULE, call->rule);
	else if (is_own_socket(call))
		decide(flow, SL_VERDICT_ALLOW, SL_WHY_LISTENER, 0);
	else
		decide(flow, policy->flags & SL_POLICY_ENFORCED ? SL_VERDICT_DENY : SL_VERDICT_WOULD_DENY, SL_WHY_UNIX, 0);
}

/* Where to keep the verdict, as pending_of_current() of egress.bpf.c; of many messages in one call the last one's is kept. */
static __always_inline struct sl_pending_connect *unix_pending(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_pending_connect *pending = place_at((__u64)task);
	struct call_shape shape;

	if (!is_place_of(pending, task))
		return NULL;
	shape = call_shape(task, (struct pt_regs *)bpf_task_pt_regs(task));
	return shape.kind == CALL_CONNECT || shape.kind == CALL_SEND ? pending : NULL;
}

static __always_inline int on_unix(struct bpf_sock_addr *ctx)
{
	struct sl_pending_connect *place, *pending;
	struct policy_now policy;
	struct unix_call call = {};
	struct flow flow = {};

	if (!is_anyone_policed())
		return is_egress_refused() ? REFUSE : LET_THROUGH;
	place = place_of_current();
	if (!place)
		return is_egress_refused() ? REFUSE : LET_THROUGH;
	call.sandbox = place->sandbox;
	if (policy_of(call.sandbox, &policy)) {
		read_unix_call(ctx, &call);
		judge_unix(&call, &policy, &flow);
	}
	if (is_egress_refused())
		decide(&flow, SL_VERDICT_DENY, SL_WHY_QUARANTINE, 0);
	pending = unix_pending();
	if (pending) {
		pending->verdict = flow.verdict;
		pending->why = flow.why;
		pending->rule = flow.rule;
		pending->generation = flow.generation;
		pending->peer = flow.verdict == SL_VERDICT_ALLOW ? call.peer : 0;
		pending->state = SL_CONNECT_UNIX;
	}
	return flow.verdict == SL_VERDICT_DENY ? REFUSE : LET_THROUGH;
}

/* libbpf 1.1 does not know these hooks: which they are is said when the object is opened (native/object.cc). */
SEC("cgroup/connect4")
int sl_connect_unix(struct bpf_sock_addr *ctx)
{
	return on_unix(ctx);
}

SEC("cgroup/sendmsg4")
int sl_sendmsg_unix(struct bpf_sock_addr *ctx)
{
	return on_unix(ctx);
}
