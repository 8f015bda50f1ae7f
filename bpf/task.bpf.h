/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Facts of a task that lie behind a pointer of its own. Read by helper and not by type: for each pointer of a typed struct that the
 * verifier follows it searches all type names of the kernel several times (a millisecond, since Linux 6.4), which was most of the load.
 */
#ifndef SLUICE_TASK_BPF_H
#define SLUICE_TASK_BPF_H

#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

static __always_inline __u64 process_start(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

static __always_inline __u32 parent_pid(struct task_struct *task)
{
	return BPF_CORE_READ(task, real_parent, tgid);
}

struct task_user {
	__u32 uid;
	__u32 gid;
};

/* As the kernel checks permissions by. */
static __always_inline struct task_user task_user(struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct task_user user = {.uid = BPF_CORE_READ(cred, euid.val), .gid = BPF_CORE_READ(cred, egid.val)};

	return user;
}

#endif
