// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Cgroups of sandboxes: those made below one are the sandbox's from the start, who is moved in is its at once, who is moved out stays
 * its. And cgroups that others make below a watched one: each is a sandbox before anything can run in it.
 *
 * The kernel calls these hooks with its cgroup lock held, after the fact: a cgroup that is told as made can't be entered yet, a process
 * that is told as moved can have run for a moment. What it forks in that moment is found by its cgroup (sl_fork_hook).
 */
#include "identity.bpf.h"
#include "lent.bpf.h"
#include "policy.bpf.h"
#include "turn.bpf.h"
#include <bpf/bpf_tracing.h>

struct thread_step {
	struct list_head *node;
	__u64 head;
	__u64 sandbox;
	__u64 start_ns;
	bool is_done;
	__u32 exec_count;
};

static long make_thread_ours(__u32 index, void *context)
{
	struct thread_step *step = context;
	struct task_struct *thread = (void *)step->node - bpf_core_field_offset(struct task_struct, thread_node);

	if (!step->node || (__u64)step->node == step->head) {
		step->is_done = true;
		return 1;
	}
	if (!store_place((__u64)thread, step->sandbox, step->start_ns, step->exec_count))
		return 1;
	step->node = BPF_CORE_READ(thread, thread_node.next);
	return 0;
}

/* Threads too, as far as they are known by address only: their entries come when they are first looked at. */
static __always_inline void make_threads_ours(struct task_struct *leader, __u64 sandbox)
{
	struct sl_task *entry = entry_of(leader);
	struct thread_step step = {
		.sandbox = sandbox, .start_ns = leader->start_boottime, .exec_count = entry ? entry->exec_count : 0};

	step.head = (__u64)BPF_CORE_READ(leader, signal) + bpf_core_field_offset(struct signal_struct, thread_head);
	step.node = BPF_CORE_READ(leader, signal, thread_head.next);
	LOOP(MOVED_THREADS_MAX, 256, make_thread_ours, &step);
	if (step.is_done)
		return;
	count_identity_failure();
	quarantine(sandbox, SL_QUARANTINE_MOVED, leader->tgid);
}

/* False: too many below this sandbox's root, or no room in the map. */
static __always_inline bool inherit_cgroup(__u64 id, __u64 sandbox)
{
	struct sl_sandbox entry = {.id = sandbox};
	struct sl_sandbox *root = sandbox_of_cgroup(sandbox);

	if (!root || root->cgroups >= SL_CGROUPS_BELOW_MAX)
		return false;
	if (bpf_map_update_elem(&sl_sandboxes, &id, &entry, BPF_NOEXIST))
		return false;
	__sync_fetch_and_add(&root->cgroups, 1);
	return true;
}

static __always_inline bool is_part(const char *at, const __u8 *wanted, __u32 len)
{
	__u64 part[SL_WATCH_NAME_MAX / sizeof(__u64)] = {};
	const __u64 *words = (const __u64 *)wanted;

	len &= SL_WATCH_NAME_MAX - 1;
	if (bpf_probe_read_kernel(part, len, at))
		return false;
	return part[0] == words[0] && part[1] == words[1] && part[2] == words[2] && part[3] == words[3];
}

/* Whether a cgroup of this name is held. What can't be read is not: somebody else's would be cut off. */
static __always_inline bool is_held_name(struct cgroup *cgroup, const struct sl_watch *watch)
{
	const char *name = BPF_CORE_READ(cgroup, kn, name);
	__u32 user = CGROUP_BY_MKDIR, ends = watch->head_len + watch->tail_len;
	struct cgroup_scratch *scratch = bpf_map_lookup_elem(&sl_cgroup_scratch, &user);
	long len = scratch ? bpf_probe_read_kernel_str(scratch->name, sizeof(scratch->name), name) - 1 : 0;

	if (len <= 0 || len < ends || (watch->holds == SL_WATCH_HOLDS_ONE && len != ends))
		return false;
	return is_part(name, watch->head, watch->head_len) && is_part(name + len - watch->tail_len, watch->tail, watch->tail_len);
}

/* Before it is a sandbox, so that it is never one that is not held. */
static __always_inline long hold_cgroup(__u64 id)
{
	struct sl_sandbox_policy held = {.sandbox = id,
					 .generation = SL_GENERATION_HELD,
					 .flags = SL_POLICY_ENFORCED | SL_POLICY_HELD,
					 .sandbox_again = id};

	return bpf_map_update_elem(&sl_sandbox_policies, &id, &held, BPF_NOEXIST);
}

/* What a watched cgroup's child becomes. True: a sandbox. */
static __always_inline bool watch_cgroup(struct cgroup *cgroup, __u64 id, const struct sl_watch *above)
{
	struct sl_sandbox sandbox = {.id = id, .flags = SL_SANDBOX_FOUND};
	struct sl_watch watch = *above;
	struct sl_counters *count = counters();
	long err;

	watch.depth--;
	if (!watch.depth && watch.holds && is_held_name(cgroup, &watch) && hold_cgroup(id) && count)
		__sync_fetch_and_add(&count->watch_failures, 1);
	if (!watch.depth)
		bpf_map_update_elem(&sl_shares, &id, &no_share, BPF_NOEXIST); /* no room: it is counted with the others */
	if (watch.depth)
		err = bpf_map_update_elem(&sl_watched_cgroups, &id, &watch, BPF_ANY);
	else
		err = bpf_map_update_elem(&sl_sandboxes, &id, &sandbox, BPF_NOEXIST);
	if (err && count)
		__sync_fetch_and_add(&count->watch_failures, 1);
	return !err && !watch.depth;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(sl_cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct cgroup_change change = {.op = SL_CGROUP_MKDIR, .scratch = CGROUP_BY_MKDIR};
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_sandbox *above;
	struct sl_watch *watch;
	struct sl_task *entry;
	__u64 id, parent;

	if (!is_v2(cgroup) || !is_our_turn(TURN_CGROUP_MKDIR))
		return 0;
	id = cgroup_id(cgroup);
	parent = cgroup_id(cgroup_parent(cgroup));
	above = sandbox_of_cgroup(parent);
	if (above) {
		change.entry.sandbox = above->id;
		if (!inherit_cgroup(id, change.entry.sandbox))
			quarantine(change.entry.sandbox, SL_QUARANTINE_CGROUPS, 0);
	} else {
		watch = bpf_map_lookup_elem(&sl_watched_cgroups, &parent);
		if (!watch || !watch->depth || !watch_cgroup(cgroup, id, watch))
			return 0;
		change.entry.sandbox = id;
		change.flags = SL_CGROUP_FOUND;
	}
	entry = entry_of(task);
	if (entry)
		change.entry.exec_count = entry->exec_count;
	change_of(&change, cgroup);
	cgroup_emit(&change, task);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(sl_cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	struct cgroup_change change = {.op = SL_CGROUP_RMDIR, .scratch = CGROUP_BY_RMDIR};
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_sandbox *sandbox, *root;
	struct sl_task *entry;
	__u64 id, sandbox_id;

	if (!is_v2(cgroup) || !is_our_turn(TURN_CGROUP_RMDIR))
		return 0;
	id = cgroup_id(cgroup);
	bpf_map_delete_elem(&sl_watched_cgroups, &id);
	sandbox = sandbox_of_cgroup(id);
	if (!sandbox)
		return 0;
	sandbox_id = sandbox->id;
	root = sandbox_of_cgroup(sandbox_id);
	if (id != sandbox_id) {
		bpf_map_delete_elem(&sl_sandboxes, &id);
		if (root)
			__sync_fetch_and_add(&root->cgroups, -1);
	} else if (sandbox->flags == SL_SANDBOX_FOUND) {
		bpf_map_delete_elem(&sl_sandboxes, &id);
		bpf_map_delete_elem(&sl_shares, &id);
		bpf_map_delete_elem(&sl_sandbox_policies, &id); /* if it was held */
	}
	if (!root) /* the sandbox has ended; nobody asks */
		return 0;
	change.entry.sandbox = sandbox_id;
	entry = entry_of(task);
	if (entry)
		change.entry.exec_count = entry->exec_count;
	change_of(&change, cgroup);
	cgroup_emit(&change, task);
	return 0;
}

/* The launcher's own move, before its program runs: user space has made it ours already, and it tells nobody anything. */
static __always_inline bool is_launch(const struct sl_task *entry, __u64 target)
{
	return entry->sandbox == target && !entry->exec_count && !entry_of(bpf_get_current_task_btf());
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(sl_cgroup_attach, struct cgroup *cgroup, const char *path, struct task_struct *task, bool whole_process)
{
	struct cgroup_change change = {.scratch = CGROUP_BY_ATTACH};
	struct sl_sandbox *sandbox;
	struct sl_task *entry;
	__u64 id;

	if (!is_v2(cgroup) || !is_our_turn(TURN_CGROUP_ATTACH))
		return 0;
	entry = task_of_sandbox(task);
	id = cgroup_id(cgroup);
	sandbox = sandbox_of_cgroup(id);
	if (!entry && !sandbox)
		return 0;
	if (!entry) {
		change.entry.sandbox = sandbox->id;
		entry = make_ours(task, change.entry.sandbox, SL_QUARANTINE_MOVED);
		if (whole_process)
			make_threads_ours(task, change.entry.sandbox);
		note_newcomer(task, entry, LENT_BY_MOVE);
	} else if (is_launch(entry, id)) {
		return 0;
	}
	if (entry)
		change.entry = *entry;
	/* One that had no room for its place gets another chance before its cgroup stops saying whose it is. */
	if (entry && !place_at((__u64)task))
		store_place((__u64)task, entry->sandbox, process_start(task), entry->exec_count);
	change.op = sandbox && sandbox->id == change.entry.sandbox ? SL_CGROUP_ATTACH : SL_CGROUP_ESCAPE;
	change_of(&change, cgroup);
	cgroup_emit(&change, task);
	return 0;
}
