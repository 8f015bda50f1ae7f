/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets of others that come into a sandbox: received from another process, taken from one, or open in a process that is moved in. From
 * when they come they are judged as the sandbox's own. Who only looked at who sends would miss what leaves later, by a timer of the
 * kernel's, when `current` is a stranger; and could be talked out of it by what the sandbox does to the socket first.
 *
 * What is noted is the address of the kernel's socket, because no helper gives storage to a socket that was found by a descriptor; the
 * hook that sees its first packet makes storage of it (verdict.bpf.h). Sockets that the sandbox's tasks make in its own cgroups are judged
 * anyway and are not noted.
 *
 * Not stopped: another thread that sends in the moment between a descriptor's coming and the end of the call that it came by.
 */
#ifndef SLUICE_LENT_BPF_H
#define SLUICE_LENT_BPF_H

#include "identity.bpf.h"
#include "verdict.bpf.h"

#define WORD_BITS 64
#define DESCRIPTOR_WORDS_MAX 16384 /* a million descriptors: more than fs.nr_open gives anybody by default */

/* Who walks: each has a place of its own, since one program can interrupt another, and none itself. */
enum lent_by {
	LENT_BY_CALL,
	LENT_BY_FORK,
	LENT_BY_EXEC,
	LENT_BY_MOVE,
	LENT_BY_URING,
	LENT_BY_MAX,
};

/* A walk over what a task has open; too much for the stack of the programs that call it. */
struct lent_walk {
	struct sl_lent lent; /* of the socket that is being looked at */
	__u64 files; /* struct file **, from the word's first one on */
	__u64 bitmap; /* of those that are open */
	__u64 word;
	__u32 words;
	__u16 is_over;
	__u16 is_forbidden;
};

/* What a step is given lies on the stack. */
struct lent_step {
	struct lent_walk *walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LENT_BY_MAX);
	__type(key, __u32);
	__type(value, struct lent_walk);
} sl_lent_walks SEC(".maps");

static __always_inline bool is_of_cgroups(struct sock *sk, __u64 sandbox)
{
	struct sl_sandbox *found = sandbox_of_cgroup(BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id));

	return found && found->id == sandbox;
}

/* Whether the sandbox may have one more; it is counted then. */
static __always_inline bool count_lent(__u64 sandbox)
{
	__s64 none = 0, *count = bpf_map_lookup_elem(&sl_lent_counts, &sandbox);

	if (!count) {
		bpf_map_update_elem(&sl_lent_counts, &sandbox, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&sl_lent_counts, &sandbox);
	}
	if (!count)
		return false;
	if (__sync_fetch_and_add(count, 1) < (__s64)SL_LENT_OF_ONE)
		return true;
	__sync_fetch_and_add(count, -1);
	return false;
}

/* False where there is no room, for it or for any. What was another sandbox's before is this one's now. */
static __always_inline bool keep_lent(__u64 key, const struct sl_lent *lent)
{
	struct sl_lent *before = bpf_map_lookup_elem(&sl_lent, &key);
	__u64 sandbox = lent->owner.sandbox;

	if (before && before->owner.sandbox == sandbox)
		return !bpf_map_update_elem(&sl_lent, &key, lent, BPF_ANY);
	if (!count_lent(sandbox))
		return false;
	if (before)
		uncount_lent(before->owner.sandbox);
	if (!bpf_map_update_elem(&sl_lent, &key, lent, before ? BPF_EXIST : BPF_NOEXIST))
		return true;
	/* Another thread has just noted it, or removed what was noted: how many there are is not told by this one. */
	uncount_lent(sandbox);
	return !bpf_map_update_elem(&sl_lent, &key, lent, BPF_ANY);
}

/* False for a socket that the sandbox must not have: one that no hook could judge, or one that there is no room to note. */
static __always_inline bool note_socket(struct lent_walk *walk, struct file *file)
{
	__u64 sandbox = walk->lent.owner.sandbox;
	struct socket *socket;
	struct sock *sk;
	__u16 family, protocol;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return true;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return true;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (is_inet(family) && is_of_cgroups(sk, sandbox))
		return true;
	/* The flows of MPTCP are sockets of the kernel's, which nothing leads to from here. */
	if (protocol == IPPROTO_MPTCP || !is_open_socket(family, BPF_CORE_READ(sk, sk_type), protocol))
		return false;
	if (!is_inet(family))
		return true;
	walk->lent.inode = BPF_CORE_READ(file, f_inode, i_ino);
	return keep_lent((__u64)sk, &walk->lent);
}

static long note_descriptor(__u32 bit, void *context)
{
	struct lent_walk *walk = ((struct lent_step *)context)->walk;
	struct file *file = NULL;

	if (!walk->word)
		return 1;
	if (walk->word & 1) {
		bpf_probe_read_kernel(&file, sizeof(file), (void *)(walk->files + bit * sizeof(file)));
		if (file && !note_socket(walk, file))
			walk->is_forbidden = true;
	}
	walk->word >>= 1;
	return 0;
}

static long note_word(__u32 index, void *context)
{
	struct lent_walk *walk = ((struct lent_step *)context)->walk;

	if (index >= walk->words) {
		walk->is_over = true;
		return 1;
	}
	walk->word = 0;
	bpf_probe_read_kernel(&walk->word, sizeof(walk->word), (void *)(walk->bitmap + index * sizeof(walk->word)));
	LOOP(WORD_BITS, WORD_BITS, note_descriptor, context);
	walk->files += WORD_BITS * sizeof(struct file *);
	return 0;
}

static __always_inline void fill_lent_owner(struct sl_event_hdr *owner, struct task_struct *task, __u64 sandbox)
{
	struct sl_pending_connect *place = place_at((__u64)task);

	owner->sandbox = sandbox;
	owner->kind = SL_KIND_CONNECT;
	owner->size = sizeof(struct sl_connect);
	owner->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	owner->start_time_ns = process_start(task);
	owner->pid = BPF_CORE_READ(task, tgid);
	owner->tid = BPF_CORE_READ(task, pid);
	owner->ppid = parent_pid(task);
	owner->uid = BPF_CORE_READ(task, cred, euid.val);
	owner->gid = BPF_CORE_READ(task, cred, egid.val);
	owner->exec_count = place ? place->exec_count : 0;
}

static __always_inline bool is_enforced(__u64 sandbox)
{
	/* The compiler may look at the flags before it knows whether there are any. */
	struct policy_now policy = {};

	return policy_of(sandbox, &policy) && policy.flags & SL_POLICY_ENFORCED;
}

/* The verdict on a socket that was asked for, by its record; true: whoever asked must end, where it was made. */
static __always_inline bool judge_made(struct sl_connect *rec, __u64 sandbox)
{
	struct policy_now policy;

	rec->verdict = SL_VERDICT_ALLOW;
	if (!policy_of(sandbox, &policy))
		return false;
	rec->generation = policy.generation;
	rec->why = SL_WHY_MADE;
	if (is_open_socket(rec->family, rec->type, rec->protocol))
		return false;
	rec->why = SL_WHY_PROTOCOL;
	rec->verdict = policy.flags & SL_POLICY_ENFORCED ? SL_VERDICT_DENY : SL_VERDICT_WOULD_DENY;
	return rec->verdict == SL_VERDICT_DENY;
}

static __always_inline struct lent_walk *begin_walk(struct task_struct *task, __u64 sandbox, __u32 by)
{
	struct lent_walk *walk = bpf_map_lookup_elem(&sl_lent_walks, &by);

	if (!walk)
		return NULL;
	__builtin_memset(walk, 0, sizeof(*walk));
	fill_lent_owner(&walk->lent.owner, task, sandbox);
	return walk;
}

/*
 * Notes all sockets that the task at this address has open. Not 0: it has one that it must not have, so it must end. A global function: the
 * verifier goes through it once.
 */
__noinline int note_sockets_of(__u64 task_address, __u64 sandbox, __u32 by)
{
	struct task_struct *task = (struct task_struct *)task_address;
	struct lent_step step = {};
	struct lent_walk *walk;
	struct fdtable *table;

	if (!is_policed(sandbox))
		return 0;
	table = BPF_CORE_READ(task, files, fdt);
	walk = table ? begin_walk(task, sandbox, by) : NULL;
	if (!walk)
		return 0;
	walk->files = (__u64)BPF_CORE_READ(table, fd);
	walk->bitmap = (__u64)BPF_CORE_READ(table, open_fds);
	walk->words = BPF_CORE_READ(table, max_fds) / WORD_BITS;
	step.walk = walk;
	LOOP(DESCRIPTOR_WORDS_MAX + 1, 4, note_word, &step);
	return (walk->is_forbidden || !walk->is_over) && is_enforced(sandbox);
}

/* The same of a task, whose address a global function takes as a number only. Not 0: it must end. */
static __always_inline int note_sockets(struct task_struct *task, __u64 sandbox, __u32 by)
{
	struct task_struct *kept = task;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &kept);
	return note_sockets_of(address, sandbox, by);
}

/*
 * A task that has just become the sandbox's, with all that it has open. One that must end does so at once if it moved itself or is just
 * born (by the end of its parent's call), else at its next call that sys_exit looks at: whoever moved it in is nobody to kill.
 */
static __always_inline int note_newcomer(struct task_struct *task, struct sl_task *entry, __u32 by)
{
	if (!entry || !note_sockets(task, entry->sandbox, by))
		return 0;
	__sync_fetch_and_or(&entry->flags, SL_TASK_FORBIDDEN);
	if (task->tgid == bpf_get_current_pid_tgid() >> 32)
		bpf_send_signal(SIGKILL);
	return 0;
}

/* Notes what one descriptor of the current task leads to. */
__noinline int note_descriptor_of_current(__u32 fd, __u64 sandbox, __u32 by)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct lent_walk *walk;
	struct file *file;

	if (!is_policed(sandbox))
		return 0;
	file = file_of_fd(task, fd);
	walk = file ? begin_walk(task, sandbox, by) : NULL;
	return walk && !note_socket(walk, file) && is_enforced(sandbox);
}

#endif
