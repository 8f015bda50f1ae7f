// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Processes: who is ours, from fork to exit, and what they run.
 *
 * Identity is sticky: it is copied to every child in the fork hook before the child can run, whatever its cgroup is now. A task
 * without one is looked up by its cgroup when it is born there and when it execs; cgroup.bpf.c sees it when it is moved there.
 */
#include "doors.bpf.h"
#include "fold.bpf.h"
#include "identity.bpf.h"
#include "input.bpf.h"
#include "lent.bpf.h"
#include "limit.bpf.h"
#include "program.bpf.h"
#include "script.bpf.h"
#include "send.bpf.h"
#include "turn.bpf.h"
#include <bpf/bpf_tracing.h>

#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */
#define CLASS_TOO_SMALL (-2)

/* Used by the exec hook alone: the kernel never runs one program twice at a time on a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} sl_exec_scratch SEC(".maps");

static __always_inline void exec_fill(struct sl_exec *rec, struct exec_scratch *scratch, struct exec_args *args, __u32 args_len)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	__u32 exe_len = path_len(&scratch->exe);
	__u32 cwd_len = path_len(&scratch->cwd);

	fill_header(&rec->hdr, task, &args->entry, SL_KIND_EXEC, args->seq,
		    sizeof(*rec) + exe_len + cwd_len + args_len + args->script_bytes);
	rec->args_bytes = args->bytes;
	rec->exe_inode = BPF_CORE_READ(exe, f_inode, i_ino);
	rec->exe_dev = BPF_CORE_READ(exe, f_inode, i_sb, s_dev);
	rec->flags = args->flags;
	rec->argc = args->argc;
	rec->args_len = args_len;
	rec->exe_len = exe_len;
	rec->exe_flags = scratch->exe.flags;
	rec->cwd_len = cwd_len;
	rec->cwd_flags = scratch->cwd.flags;
	rec->script_base_len = args->script_base_len;
	rec->script_base_flags = args->script_base_flags;
	rec->script_len = args->script_len;
	rec->interpreter_len = args->interpreter_len;
}

/*
 * One body for every size class: a ring reservation needs a constant size; most command lines fit the first class, and a 32 KiB
 * one need not make the others pay for it. Returns 0, CLASS_TOO_SMALL, or -1 if the ring is full.
 */
static __always_inline int exec_emit(struct exec_scratch *scratch, struct exec_args *args, const __u32 path_max,
				     const __u32 args_max, const __u32 script_max)
{
	__u32 exe_len = path_len(&scratch->exe);
	__u32 cwd_len = path_len(&scratch->cwd);
	__u32 script_bytes = args->script_bytes;
	__u32 args_len = args->len;
	const __u32 size = sizeof(struct sl_exec) + 2 * path_max + args_max + script_max;
	struct sl_exec *rec;

	/* Without the barriers clang folds the checks into the caller's and the verifier loses the bounds. */
	barrier_var(exe_len);
	barrier_var(cwd_len);
	barrier_var(args_len);
	barrier_var(script_bytes);
	if (exe_len > path_max || cwd_len > path_max || args_len > args_max || script_bytes > script_max)
		return CLASS_TOO_SMALL;
	rec = bpf_ringbuf_reserve(&sl_ring_priority, size, 0);
	if (!rec)
		return -1;
	bpf_probe_read_kernel(rec->data, exe_len, &scratch->exe.data[scratch->exe.start & (SL_PATH_MAX - 1)]);
	bpf_probe_read_kernel(rec->data + exe_len, cwd_len, &scratch->cwd.data[scratch->cwd.start & (SL_PATH_MAX - 1)]);
	if (bpf_probe_read_user(rec->data + exe_len + cwd_len, args_len, (void *)args->start)) {
		args->flags |= SL_EXEC_ARGS_FAULT;
		args_len = 0;
	}
	if (script_max)
		bpf_probe_read_kernel(rec->data + exe_len + cwd_len + args_len, script_bytes, scratch->script);
	exec_fill(rec, scratch, args, args_len);
	args->record_bytes = size;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}

static __noinline int exec_emit_small(struct exec_scratch *scratch, struct exec_args *args)
{
	return exec_emit(scratch, args, 255, 511, 0);
}

static __noinline int exec_emit_script(struct exec_scratch *scratch, struct exec_args *args)
{
	return exec_emit(scratch, args, 255, 511, 511);
}

static __noinline int exec_emit_medium(struct exec_scratch *scratch, struct exec_args *args)
{
	return exec_emit(scratch, args, 1023, 4096, 1023);
}

static __noinline int exec_emit_long(struct exec_scratch *scratch, struct exec_args *args)
{
	return exec_emit(scratch, args, 1023, 16384, 1023);
}

static __noinline int exec_emit_large(struct exec_scratch *scratch, struct exec_args *args)
{
	return exec_emit(scratch, args, SL_PATH_MAX, SL_ARGS_MAX, SCRIPT_BYTES_MAX);
}

/*
 * A task without an entry that execs all the same: its id is in its place alone (it came in as a thread, and the exec took the leader
 * away), or it was in the sandbox's cgroup before there was a sandbox.
 */
static __always_inline struct sl_task *adopt_at_exec(struct task_struct *task)
{
	struct sl_task *entry = entry_by_place(task);
	struct sl_sandbox *sandbox;

	if (entry)
		return entry;
	sandbox = sandbox_of_cgroup(bpf_get_current_cgroup_id());
	if (!sandbox)
		return NULL;
	entry = make_ours(task, sandbox->id, SL_QUARANTINE_MOVED);
	note_newcomer(task, entry, LENT_BY_EXEC);
	return entry;
}

/* Not more execs than the sandbox's limit lets through: what is sent here takes effect before the program's first instruction. */
static __always_inline void limit_current_exec(struct task_struct *task, struct sl_task *entry)
{
	switch (limit_exec(entry->sandbox, bpf_get_current_task(), process_start(task), task->tgid)) {
	case EXEC_WAITS:
		entry->flags |= SL_TASK_HELD;
		bpf_send_signal(SIGSTOP);
		break;
	case EXEC_ENDS:
		bpf_send_signal(SIGKILL);
		break;
	}
}

/* `bytes` of its record are in the ring; 0: it was lost. A global function: the verifier goes through it once. */
__noinline int exec_count_outcome(__u64 sandbox, __u32 bytes)
{
	struct sl_share *share = share_of(sandbox);

	if (bytes)
		count_told(share, SL_KIND_EXEC, SL_RING_PRIORITY, bytes);
	else
		count_dropped(share, SL_KIND_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(sl_exec_hook, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	struct sl_task *entry;
	struct exec_scratch *scratch;
	struct exec_args args = {};
	struct sl_counters *count;
	struct file *exe;
	struct mm_struct *mm;
	__u32 zero = 0;

	if (!is_our_turn(TURN_EXEC))
		return 0;
	entry = task_of_sandbox(task);
	if (!entry)
		entry = adopt_at_exec(task);
	if (!entry)
		return 0;
	fold_tell_all(task, true);
	input_tell_of(task);
	entry->flags = (entry->flags & SL_TASK_FORBIDDEN) | (is_command_reader() ? SL_TASK_READS_COMMANDS : 0);
	entry->exec_count++;
	if (is_anyone_limited())
		limit_current_exec(task, entry);
	count = counters();
	scratch = bpf_map_lookup_elem(&sl_exec_scratch, &zero);
	if (!count || !scratch)
		return 0;
	if (!store_place((__u64)task, entry->sandbox, task->start_boottime, entry->exec_count)) {
		count_identity_failure();
		quarantine(entry->sandbox, SL_QUARANTINE_FORK, task->tgid);
	}
	begin_program(task, BPF_CORE_READ(bprm, file));
	look_for_door(task, entry->sandbox);
	args.seq = count_attempt(count, SL_KIND_EXEC);
	args.entry = *entry;
	mm = BPF_CORE_READ(task, mm);
	args.start = BPF_CORE_READ(mm, arg_start);
	args.bytes = BPF_CORE_READ(mm, arg_end) - args.start;
	args.len = args.bytes > SL_ARGS_MAX ? SL_ARGS_MAX : args.bytes;
	args.argc = BPF_CORE_READ(bprm, argc);
	args.flags = BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec) ? SL_EXEC_SECURE : 0;
	exe = BPF_CORE_READ(mm, exe_file);
	PATH_RESOLVE(&scratch->exe, exe, f_path);
	path_resolve(&scratch->cwd, (__u64)BPF_CORE_READ(task, fs, pwd.dentry), (__u64)BPF_CORE_READ(task, fs, pwd.mnt));
	read_script(scratch, &args, bprm);
	if (has_priority_room_of(args.entry.sandbox) && exec_emit_small(scratch, &args) == CLASS_TOO_SMALL &&
	    exec_emit_script(scratch, &args) == CLASS_TOO_SMALL && exec_emit_medium(scratch, &args) == CLASS_TOO_SMALL &&
	    exec_emit_long(scratch, &args) == CLASS_TOO_SMALL)
		exec_emit_large(scratch, &args);
	if (args.flags & SL_EXEC_ARGS_FAULT)
		count_read_failure(count);
	exec_count_outcome(args.entry.sandbox, args.record_bytes);
	return 0;
}

/* Tells a child that was born in another cgroup than its parent's, by clone3(CLONE_INTO_CGROUP): no attach tells it. */
static __always_inline void child_elsewhere(struct task_struct *child, const struct sl_task *copy, struct cgroup *cgroup)
{
	struct cgroup_change change = {.scratch = CGROUP_BY_FORK, .flags = SL_CGROUP_BORN, .entry = *copy};
	struct sl_sandbox *sandbox = sandbox_of_cgroup(cgroup_id(cgroup));

	change.op = sandbox && sandbox->id == copy->sandbox ? SL_CGROUP_ATTACH : SL_CGROUP_ESCAPE;
	change_of(&change, cgroup);
	cgroup_emit(&change, child);
}

/* A foreign task's child that is born in a sandbox's cgroup. */
static __always_inline void adopt_newborn(struct task_struct *child)
{
	struct cgroup *cgroup = cgroup_of(child);
	struct sl_sandbox *sandbox = sandbox_of_cgroup(cgroup_id(cgroup));
	struct sl_task *entry;

	if (!sandbox)
		return;
	entry = make_ours(child, sandbox->id, SL_QUARANTINE_MOVED);
	note_newcomer(child, entry, LENT_BY_FORK);
	if (entry && child->pid == child->tgid)
		child_elsewhere(child, entry, cgroup);
}

static __always_inline void fork_emit(struct sl_counters *count, const struct sl_task *entry, struct task_struct *child)
{
	__u64 seq = count_attempt(count, SL_KIND_FORK);
	struct sl_share *share = share_of(entry->sandbox);
	struct sl_fork *rec;

	rec = has_room(share, SL_RING_PRIORITY) ? bpf_ringbuf_reserve(&sl_ring_priority, sizeof(*rec), 0) : NULL;
	if (!rec) {
		count_dropped(share, SL_KIND_FORK);
		return;
	}
	count_told(share, SL_KIND_FORK, SL_RING_PRIORITY, sizeof(*rec));
	fill_header(&rec->hdr, bpf_get_current_task_btf(), entry, SL_KIND_FORK, seq, sizeof(*rec));
	rec->child_start_time_ns = child->start_boottime;
	rec->child_pid = child->tgid;
	rec->pad = 0;
	bpf_ringbuf_submit(rec, 0);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sl_fork_hook, struct task_struct *parent, struct task_struct *child)
{
	struct sl_pending_connect *place;
	struct sl_task newborn = {};
	struct sl_task *entry;
	struct sl_counters *count;
	struct cgroup *cgroup;
	struct sl_task *copy;

	if (!is_our_turn(TURN_FORK))
		return 0;
	entry = task_of_sandbox(parent);
	if (!entry) {
		adopt_newborn(child);
		return 0;
	}
	newborn.sandbox = entry->sandbox;
	copy = make_ours(child, entry->sandbox, SL_QUARANTINE_FORK);
	if (copy)
		copy->flags = entry->flags;
	inherit_program(parent, child);
	/* What waits has no use of whoever let it go on too soon: its child would be another process of the same program. */
	if (entry->flags & SL_TASK_HELD && limit_held((__u64)BPF_CORE_READ(parent, group_leader)) != EXEC_PASSES) {
		bpf_send_signal(SIGKILL);
		if (copy)
			copy->flags |= SL_TASK_FORBIDDEN;
	}
	if (entry->flags & SL_TASK_READS_COMMANDS)
		input_tell_of(parent);
	count = counters();
	if (!count)
		return 0;
	if (child->pid != child->tgid) { /* a thread: the same process, the same exec */
		place = place_at((__u64)child);
		if (copy)
			copy->exec_count = entry->exec_count;
		if (place)
			place->exec_count = entry->exec_count;
		return 0;
	}
	fork_emit(count, entry, child);
	cgroup = cgroup_of(child);
	if (cgroup != cgroup_of(parent))
		child_elsewhere(child, &newborn, cgroup);
	return 0;
}

/* What wait(2) will give the parent: wait_task_zombie() of kernel/exit.c. */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sl_exit_hook, struct task_struct *task)
{
	__u64 key = (__u64)task;
	struct sl_counters *count;
	struct sl_task *entry;
	struct sl_task *leader;
	struct sl_share *share;
	struct sl_exit *rec;
	__u64 seq;

	if (!is_our_turn(TURN_EXIT))
		return 0;
	entry = task_of_sandbox(task);
	if (!entry)
		return 0;
	/* A leader's place says whose the threads are that the kernel runs for its process: it goes with the last of them. */
	if (task->pid != task->tgid || BPF_CORE_READ(task, signal, live.counter) <= 0)
		bpf_map_delete_elem(&sl_connects, &key);
	sends_end(task);
	fold_tell_all(task, true);
	input_tell_of(task);
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	key = (__u64)task->group_leader;
	bpf_map_delete_elem(&sl_connects, &key);
	if (entry->flags & SL_TASK_HELD)
		bpf_map_delete_elem(&sl_held, &key);
	/* Two last threads can both read zero here: the leader's entry, which outlives them, says who came first. */
	leader = bpf_task_storage_get(&sl_tasks, task->group_leader, 0, 0);
	if (leader && __sync_lock_test_and_set(&leader->exited, 1))
		return 0;
	count = counters();
	if (!count)
		return 0;
	seq = count_attempt(count, SL_KIND_EXIT);
	share = share_of(entry->sandbox);
	rec = has_room(share, SL_RING_PRIORITY) ? bpf_ringbuf_reserve(&sl_ring_priority, sizeof(*rec), 0) : NULL;
	if (!rec) {
		count_dropped(share, SL_KIND_EXIT);
		return 0;
	}
	count_told(share, SL_KIND_EXIT, SL_RING_PRIORITY, sizeof(*rec));
	fill_header(&rec->hdr, task, entry, SL_KIND_EXIT, seq, sizeof(*rec));
	rec->status = wait_status(task);
	rec->pad = 0;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}
