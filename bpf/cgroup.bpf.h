/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroups of the v2 hierarchy as the kernel keeps them: their ids, whose they are, their paths, and the record of a change. On a hybrid
 * host the v1 hierarchies have cgroups too; those mean nothing here.
 */
#ifndef SLUICE_CGROUP_BPF_H
#define SLUICE_CGROUP_BPF_H

#include "emit.bpf.h"
#include "path.bpf.h"
#include "loop.bpf.h"

#define CGROUP_LEVELS 1024 /* that a walk goes up */
#define DEFAULT_HIERARCHY 0 /* number of cgroup v2 in /proc/PID/cgroup; v1 ones count from 1 */

/* A program can be put aside for another one of ours on the same CPU, but never runs twice at a time there: a scratch for each. */
enum cgroup_scratch_user {
	CGROUP_BY_FORK,
	CGROUP_BY_MKDIR,
	CGROUP_BY_RMDIR,
	CGROUP_BY_ATTACH,
	CGROUP_USERS,
};

struct cgroup_scratch {
	struct path_walk walk;
	__u8 name[NAME_MAX + 1];
	__u8 bytes[sizeof(struct sl_cgroup) + 2 * SL_PATH_MAX]; /* the record; the slack is for the verifier */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CGROUP_USERS);
	__type(key, __u32);
	__type(value, struct cgroup_scratch);
} sl_cgroup_scratch SEC(".maps");

/* What is to be told. */
struct cgroup_change {
	struct sl_task entry; /* of the process that the record is about: whose it is */
	__u64 node; /* address of the cgroup's directory */
	__u64 target; /* the cgroup's id */
	__u32 op; /* enum sl_cgroup_op */
	__u32 flags; /* enum sl_cgroup_flag */
	__u32 scratch; /* enum cgroup_scratch_user */
	__u32 pad;
};

static __always_inline __u64 cgroup_id(struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, kn, id);
}

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

/* NULL above the root of the hierarchy. */
static __always_inline struct cgroup *cgroup_parent(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *above = BPF_CORE_READ(cgroup, self.parent);

	return BPF_CORE_READ(above, cgroup);
}

static __always_inline bool is_v2(struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, root, hierarchy_id) == DEFAULT_HIERARCHY;
}

static __always_inline struct sl_sandbox *sandbox_of_cgroup(__u64 id)
{
	return bpf_map_lookup_elem(&sl_sandboxes, &id);
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___unhardened *old = (void *)node;

	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ(old, parent);
}

struct node_step {
	struct cgroup_scratch *scratch;
	struct kernfs_node *node;
	bool is_whole; /* the root was reached */
};

static long prepend_node(__u32 level, void *context)
{
	struct node_step *step = context;
	struct kernfs_node *node = step->node;
	struct kernfs_node *parent = kernfs_parent(node);
	struct cgroup_scratch *scratch = step->scratch;
	long len;

	if (!parent) {
		step->is_whole = true;
		return 1;
	}
	len = bpf_probe_read_kernel_str(scratch->name, sizeof(scratch->name), BPF_CORE_READ(node, name));
	if (len <= 0 || !path_prepend_name(&scratch->walk, scratch->name, len - 1))
		return 1;
	step->node = parent;
	return 0;
}

/* The path of a cgroup's directory into the scratch's walk. */
static __always_inline void cgroup_path(struct cgroup_scratch *scratch, __u64 node)
{
	struct node_step step = {.scratch = scratch, .node = (struct kernfs_node *)node};

	scratch->walk.start = SL_PATH_MAX;
	scratch->walk.flags = 0;
	LOOP(CGROUP_LEVELS, 16, prepend_node, &step);
	if (!step.is_whole)
		scratch->walk.flags |= SL_PATH_TRUNCATED;
	if (scratch->walk.start == SL_PATH_MAX) {
		scratch->walk.start = SL_PATH_MAX - 1;
		scratch->walk.data[SL_PATH_MAX - 1] = '/';
	}
}

static __always_inline void change_of(struct cgroup_change *change, struct cgroup *cgroup)
{
	change->node = (__u64)BPF_CORE_READ(cgroup, kn);
	change->target = cgroup_id(cgroup);
}

/* Tells a change; `task` is the process it is about, the current one is who did it. */
__attribute__((unused)) static __noinline int cgroup_emit(const struct cgroup_change *change, struct task_struct *task)
{
	struct sl_counters *count = counters();
	__u32 user = change->scratch;
	struct cgroup_scratch *scratch = bpf_map_lookup_elem(&sl_cgroup_scratch, &user);
	struct sl_share *share;
	struct sl_cgroup *rec;
	__u32 len, size;
	__u64 seq;

	if (!count || !scratch)
		return 0;
	seq = count_attempt(count, SL_KIND_CGROUP);
	cgroup_path(scratch, change->node);
	rec = (struct sl_cgroup *)scratch->bytes;
	len = path_len(&scratch->walk);
	barrier_var(len);
	if (len > SL_PATH_MAX)
		len = SL_PATH_MAX;
	bpf_probe_read_kernel(rec->data, len, &scratch->walk.data[scratch->walk.start & (SL_PATH_MAX - 1)]);
	size = sizeof(*rec) + len;
	fill_header(&rec->hdr, task, &change->entry, SL_KIND_CGROUP, seq, size);
	rec->hdr.cgroup_id = cgroup_id(cgroup_of(task));
	rec->target = change->target;
	rec->actor = bpf_get_current_pid_tgid() >> 32;
	rec->op = change->op;
	rec->flags = change->flags;
	rec->path_len = len;
	rec->path_flags = scratch->walk.flags;
	rec->pad = 0;
	barrier_var(size);
	if (size > sizeof(*rec) + SL_PATH_MAX)
		size = sizeof(*rec) + SL_PATH_MAX;
	share = share_of(change->entry.sandbox);
	OUTPUT(share, SL_KIND_CGROUP, &sl_ring_priority, SL_RING_PRIORITY, scratch->bytes, size, 1);
	return 0;
}

#endif
