/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whose a task is. Its id is kept twice: in task storage, and in sl_connects for programs that can't ask there. One is enough; where
 * either can't be stored the sandbox is quarantined: its egress is refused, the process that brought it about is stopped as far as a
 * program of ours can do that, and it is told. A foreign task pays one look-up.
 */
#ifndef SLUICE_IDENTITY_BPF_H
#define SLUICE_IDENTITY_BPF_H

#include "cgroup.bpf.h"
#include "place.bpf.h"

#define SIGKILL 9
#define SIGCONT 18
#define SIGSTOP 19
#define MOVED_THREADS_MAX 32768 /* threads of a process that comes into a sandbox */

/* The task's own entry if it belongs to a sandbox. */
static __always_inline struct sl_task *entry_of(struct task_struct *task)
{
	struct sl_task *entry = bpf_task_storage_get(&sl_tasks, task, 0, 0);

	return entry && entry->sandbox ? entry : NULL;
}

static __always_inline struct sl_state *state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sl_state, &zero);
}

static __always_inline bool is_any_quarantined(void)
{
	struct sl_state *now = state();

	return now && now->quarantined;
}

static __always_inline void emit_quarantine(struct sl_counters *count, const struct sl_task *entry, __u32 cause, __u32 subject,
					    __u32 stopped)
{
	__u64 seq = count_attempt(count, SL_KIND_QUARANTINE);
	struct sl_share *share = share_of(entry->sandbox);
	/* Told once and never more than is its share: it does not ask. */
	struct sl_quarantine *rec = bpf_ringbuf_reserve(&sl_ring_priority, sizeof(*rec), 0);

	if (!rec) {
		count_dropped(share, SL_KIND_QUARANTINE);
		return;
	}
	count_told(share, SL_KIND_QUARANTINE, SL_RING_PRIORITY, sizeof(*rec));
	fill_header(&rec->hdr, bpf_get_current_task_btf(), entry, SL_KIND_QUARANTINE, seq, sizeof(*rec));
	rec->cause = cause;
	rec->subject = subject;
	rec->stopped = stopped;
	rec->pad = 0;
	bpf_ringbuf_submit(rec, 0);
}

/*
 * Who belongs to sandbox `id` can no longer be told for sure. The current process is stopped if it is the sandbox's; another one can't
 * be by a program that must load everywhere. Told once until user space lifts it.
 */
static __noinline int quarantine(__u64 id, __u32 cause, __u32 subject)
{
	struct sl_task *current_entry = entry_of(bpf_get_current_task_btf());
	struct sl_sandbox *sandbox = sandbox_of_cgroup(id);
	struct sl_counters *count = counters();
	struct sl_state *now = state();
	struct sl_task entry = {.sandbox = id};
	__u32 stopped = 0;

	if (!count || !sandbox || !now)
		return 0;
	if (current_entry && current_entry->sandbox == id) {
		entry = *current_entry;
		stopped = !bpf_send_signal(SIGSTOP);
	}
	if (__sync_fetch_and_or(&sandbox->flags, SL_SANDBOX_QUARANTINED) & SL_SANDBOX_QUARANTINED)
		return 0;
	now->quarantined = 1;
	emit_quarantine(count, &entry, cause, subject, stopped);
	return 0;
}

static __always_inline void count_identity_failure(void)
{
	struct sl_counters *count = counters();

	if (count)
		__sync_fetch_and_add(&count->identity_failures, 1);
}

/*
 * Makes `task` the sandbox's, with its place. NULL: the id could not be stored there, or not both of it could; the sandbox is then in
 * quarantine.
 */
static __always_inline struct sl_task *make_ours(struct task_struct *task, __u64 sandbox, __u32 cause)
{
	struct sl_task *entry = storage_of(&sl_tasks, task);
	bool placed = store_place((__u64)task, sandbox, process_start(task), entry ? entry->exec_count : 0);

	if (entry)
		entry->sandbox = sandbox;
	if (entry && placed)
		return entry;
	count_identity_failure();
	quarantine(sandbox, cause, task->tgid);
	return entry;
}

/* A thread that came in with its process, or whose own id could not be stored. NULL for a thread of a foreign process. */
static __always_inline struct sl_task *entry_by_leader(struct task_struct *task)
{
	struct sl_task *leader = entry_of(task->group_leader);
	struct sl_task *entry;

	if (!leader)
		return NULL;
	entry = storage_of(&sl_tasks, task);
	if (!entry)
		return leader;
	entry->sandbox = leader->sandbox;
	entry->exec_count = leader->exec_count;
	entry->flags = leader->flags;
	return entry;
}

/* A task whose id is only in its place. */
static __always_inline struct sl_task *entry_by_place(struct task_struct *task)
{
	struct sl_pending_connect *place = place_at((__u64)task);
	struct sl_task *entry;

	if (!is_place_of(place, task))
		return NULL;
	entry = storage_of(&sl_tasks, task);
	if (entry)
		entry->sandbox = place->sandbox;
	return entry;
}

static __always_inline bool is_current(struct task_struct *task)
{
	return task->pid == (int)bpf_get_current_pid_tgid();
}

/* The task's entry if it belongs to a sandbox. The first thing every hook does: a foreign task leaves here. */
static __always_inline struct sl_task *task_of_sandbox(struct task_struct *task)
{
	struct sl_task *entry = entry_of(task);

	if (entry)
		return entry;
	if (task->pid != task->tgid)
		entry = entry_by_leader(task);
	if (entry || !is_any_quarantined())
		return entry;
	entry = entry_by_place(task);
	/* It ran on when its id could not be stored. Who moves it is nobody to stop. */
	if (entry && is_current(task))
		bpf_send_signal(SIGSTOP);
	return entry;
}

struct quarantine_step {
	struct cgroup *cgroup;
	bool is_quarantined;
};

static long look_at_cgroup(__u32 level, void *context)
{
	struct quarantine_step *step = context;
	struct sl_sandbox *sandbox, *root;

	if (!step->cgroup)
		return 1;
	sandbox = sandbox_of_cgroup(cgroup_id(step->cgroup));
	if (!sandbox) {
		step->cgroup = cgroup_parent(step->cgroup);
		return 0;
	}
	root = sandbox_of_cgroup(sandbox->id);
	step->is_quarantined = root && root->flags & SL_SANDBOX_QUARANTINED;
	return 1;
}

/* Whether the current task is in a cgroup of a quarantined sandbox, also in one that has no entry any more. */
static __always_inline bool is_in_quarantined_cgroup(void)
{
	struct quarantine_step step = {.cgroup = cgroup_of(bpf_get_current_task_btf())};

	LOOP(CGROUP_LEVELS, 16, look_at_cgroup, &step);
	return step.is_quarantined;
}

static __noinline bool is_in_quarantine(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_pending_connect *place = place_at((__u64)task);
	struct sl_sandbox *root;

	if (!is_place_of(place, task))
		return is_in_quarantined_cgroup();
	root = sandbox_of_cgroup(place->sandbox);
	return root && root->flags & SL_SANDBOX_QUARANTINED;
}

/*
 * Whether the current task's egress is refused: every hook that lets something out of a sandbox asks this. As long as no sandbox is in
 * quarantine it costs one array look-up, and nobody is refused.
 */
static __always_inline bool is_egress_refused(void)
{
	return is_any_quarantined() && is_in_quarantine();
}

#endif
