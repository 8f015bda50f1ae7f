/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a dentry and its mount to the absolute path in the task's mount namespace: what bpf_d_path would say, which the verifier
 * refuses in tp_btf programs. The walk goes past a chroot to the namespace's real root, so that a chroot hides nothing.
 * Names are read without locks: a rename in mid-walk can show either name, never memory that isn't ours.
 */
#ifndef SLUICE_PATH_BPF_H
#define SLUICE_PATH_BPF_H

#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "event_abi.h"
#include "loop.bpf.h"

#define PATH_STEPS 256 /* components and mount crossings; deeper paths lose their beginning and say so */
#define NAME_MAX 255

/* Built from the end: the path is data[start .. SL_PATH_MAX). The slack is for the verifier, which can't see start + len's sum. */
struct path_walk {
	__u8 data[SL_PATH_MAX + NAME_MAX + 1];
	__u32 start;
	__u32 flags; /* enum sl_path_flag */
};

static __always_inline __u32 path_len(const struct path_walk *walk)
{
	return SL_PATH_MAX - walk->start;
}

/* Puts "/name" before what is there. False when it does not fit. */
static __always_inline bool path_prepend_name(struct path_walk *walk, const unsigned char *name, __u32 len)
{
	__u32 start = walk->start;

	if (len > NAME_MAX)
		len = NAME_MAX;
	if (start < len + 1 || start > SL_PATH_MAX)
		return false;
	start -= len;
	bpf_probe_read_kernel(&walk->data[start & (SL_PATH_MAX - 1)], len & NAME_MAX, name);
	start -= 1;
	walk->data[start & (SL_PATH_MAX - 1)] = '/';
	walk->start = start;
	return true;
}

static __always_inline bool path_prepend(struct path_walk *walk, struct dentry *dentry)
{
	return path_prepend_name(walk, BPF_CORE_READ(dentry, d_name.name), BPF_CORE_READ(dentry, d_name.len));
}

struct path_step {
	struct path_walk *walk;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *mount_root;
	bool is_done;
};

/* From a mount's root to where it is mounted. True at the top. */
static __always_inline bool leave_mount(struct path_step *step)
{
	struct mount *mount = step->mount;
	struct mount *above = BPF_CORE_READ(mount, mnt_parent);
	long ns;

	if (above == mount) {
		/* Error pointers mark kernel-internal mounts, NULL one that was taken away. */
		ns = (long)BPF_CORE_READ(mount, mnt_ns);
		if (!ns || (ns < 0 && ns >= -4095))
			step->walk->flags |= SL_PATH_DETACHED;
		else if (ns != (long)BPF_CORE_READ(bpf_get_current_task_btf(), nsproxy, mnt_ns))
			step->walk->flags |= SL_PATH_FOREIGN;
		return true;
	}
	step->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
	step->mount = above;
	step->mount_root = BPF_CORE_READ(above, mnt.mnt_root);
	return false;
}

static long path_up(__u32 index, void *context)
{
	struct path_step *step = context;
	struct dentry *dentry = step->dentry;
	struct dentry *parent;

	if (dentry == step->mount_root) {
		step->is_done = leave_mount(step);
		return step->is_done;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (!path_prepend(step->walk, dentry)) {
		step->walk->flags |= SL_PATH_TRUNCATED;
		step->is_done = true;
	} else if (parent == dentry) { /* a file of no directory: memfd, pipe, socket */
		step->walk->flags |= SL_PATH_DETACHED;
		step->is_done = true;
	}
	step->dentry = parent;
	return step->is_done;
}

/*
 * Fills `walk` with the path of a dentry in a mount, both as kernel addresses. A global function, which the verifier goes through once
 * and not once a caller.
 */
__noinline int path_resolve(struct path_walk *walk, __u64 dentry_address, __u64 vfsmount_address)
{
	struct path_step step = {.walk = walk, .dentry = (struct dentry *)dentry_address};
	struct dentry *dentry = step.dentry;
	struct mount *mount = (void *)vfsmount_address - bpf_core_field_offset(struct mount, mnt);

	if (!walk)
		return 0;
	walk->start = SL_PATH_MAX;
	walk->flags = 0;
	if (!dentry || !vfsmount_address) {
		walk->flags = SL_PATH_UNRESOLVED;
		return 0;
	}
	/* d_unlinked() of the kernel: no name in its directory any more, and not the root of something. */
	if (!BPF_CORE_READ(dentry, d_hash.pprev) && BPF_CORE_READ(dentry, d_parent) != dentry)
		walk->flags |= SL_PATH_DELETED;
	step.mount = mount;
	step.mount_root = BPF_CORE_READ(mount, mnt.mnt_root);
	LOOP(PATH_STEPS, PATH_STEPS, path_up, &step);
	if (!step.is_done)
		walk->flags |= SL_PATH_TRUNCATED;
	if (walk->start == SL_PATH_MAX) {
		walk->start = SL_PATH_MAX - 1;
		walk->data[SL_PATH_MAX - 1] = '/';
	}
	return 0;
}

/* The same for a `struct path` of the kernel's. */
#define PATH_RESOLVE(walk, owner, member) \
	path_resolve(walk, (__u64)BPF_CORE_READ(owner, member.dentry), (__u64)BPF_CORE_READ(owner, member.mnt))

/* The open file behind a descriptor of `task`, NULL if there is none. */
static __always_inline struct file *file_of_fd(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots = BPF_CORE_READ(table, fd);
	struct file *file = NULL;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
	return file;
}

#endif
