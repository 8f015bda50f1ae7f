/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From the file of a Unix socket up the directories, along a path from its end: whether the path leads to that file and nowhere else. */
#ifndef SLUICE_CLIMB_BPF_H
#define SLUICE_CLIMB_BPF_H

#include "unix.bpf.h"

#define DCACHE_MOUNTED 0x00010000 /* include/linux/dcache.h: something is mounted on it, in some namespace */
#define COMPONENTS_MAX 64
#define COMPARED 32 /* bytes of a name */

/* From a socket's file up to where the caller's path begins. */
struct climb {
	__u64 path;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *base;
	struct mount *base_mount;
	__u32 end; /* what of the path is before it is still to be met */
	bool is_absolute;
	bool came_by_mount;
	bool fits;
};

/* Whether the `len` bytes at `given` are the name: a few bytes at a time, as the stack is short. Global: the verifier goes through it once. */
__noinline int is_same_name(__u64 name, __u64 given, __u32 len)
{
	__u64 is[COMPARED / 8], was[COMPARED / 8], differs = 0;
	__u32 from, i;

	for (from = 0; from < SL_UNIX_NAME_MAX; from += COMPARED) {
		__u32 count = len > from ? len - from : 0;

		__builtin_memset(is, 0, sizeof(is));
		__builtin_memset(was, 0, sizeof(was));
		barrier_var(count);
		if (count > COMPARED)
			count = COMPARED;
		differs |= bpf_probe_read_kernel(is, count, (void *)name + from);
		differs |= bpf_probe_read_kernel(was, count, (void *)given + from);
#pragma unroll
		for (i = 0; i < COMPARED / 8; i++)
			differs |= is[i] ^ was[i];
	}
	return !differs;
}

/* Takes the part that was met, and the slash before it, off the path's end. False: there is none where one must be. */
static __always_inline bool take_part(struct climb *climb, __u32 len)
{
	char byte = 0;

	climb->end -= len;
	if (!climb->end)
		return true;
	bpf_probe_read_kernel(&byte, 1, (void *)climb->path + climb->end - 1);
	if (byte != '/')
		return false;
	if (!climb->is_absolute || climb->end > 1)
		climb->end--;
	return true;
}

static long climb_up(__u32 index, void *context)
{
	struct climb *climb = context;
	struct dentry *dentry = climb->dentry;
	struct mount *mount = climb->mount;
	struct mount *above;
	__u32 len;

	if (climb->end <= climb->is_absolute) {
		climb->fits = dentry == climb->base && mount == climb->base_mount;
		return 1;
	}
	if (!climb->came_by_mount && BPF_CORE_READ(dentry, d_flags) & DCACHE_MOUNTED)
		return 1;
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount)
			return 1;
		climb->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		climb->mount = above;
		climb->came_by_mount = true;
		return 0;
	}
	len = BPF_CORE_READ(dentry, d_name.len);
	if (!BPF_CORE_READ(dentry, d_hash.pprev) || !len || len > climb->end || len > SL_UNIX_NAME_MAX ||
	    !is_same_name((__u64)BPF_CORE_READ(dentry, d_name.name), climb->path + climb->end - len, len) ||
	    !take_part(climb, len))
		return 1;
	climb->dentry = BPF_CORE_READ(dentry, d_parent);
	climb->came_by_mount = false;
	return 0;
}

#endif
