/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Unix sockets that a sandbox gave a name, and finding them again by a name that is connected to: what is at a name now is looked up by
 * nobody but the kernel, so it goes the other way, from each socket that might be meant up to where the name begins. That fits only
 * where each part is the name of a directory or of the socket itself, nothing is mounted over it, and it leads to the caller's own root
 * or working directory: no symbolic link, chroot or mount can have the kernel find something else. What may be connected to is
 * unix.bpf.c's.
 */
#ifndef SLUICE_UNIX_BPF_H
#define SLUICE_UNIX_BPF_H

#include "maps.bpf.h"
#include "policy_abi.h"
#include "sockaddr.bpf.h"

#define SUN_PATH_AT 2 /* of struct sockaddr_un */
#define HASHED_HALF 64
#define SHOWN_STEPS 4

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_UNIX_BOUND_MAX);
	__type(key, struct sl_unix_slot);
	__type(value, struct sl_unix_bound);
} sl_unix_bound SEC(".maps");

/* The end of a name: its last part, and the one before. Of an abstract name, its bytes. */
struct unix_end {
	__u8 parent[HASHED_HALF];
	__u8 name[HASHED_HALF];
};

static __always_inline struct mount *mount_behind(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

/* The first of the slots that the name can be in. */
static __always_inline __u32 slots_of(const struct unix_end *end)
{
	const __u64 *word = (const __u64 *)end;
	__u64 hash = 0xcbf29ce484222325ULL;
	__u32 i;

#pragma unroll
	for (i = 0; i < sizeof(*end) / sizeof(*word); i++) {
		hash = (hash ^ word[i]) * 0x100000001b3ULL;
		hash ^= hash >> 29;
	}
	return (__u32)(hash >> 32) % (SL_UNIX_SLOTS / SL_UNIX_WAYS) * SL_UNIX_WAYS;
}

/* Whose name a directory is seen by: a mount's root by that of what it is mounted on. */
static __always_inline struct dentry *shown_dentry(struct dentry *dentry, struct mount *mount)
{
	struct mount *above;
	__u32 i;

#pragma unroll
	for (i = 0; i < SHOWN_STEPS; i++) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (dentry != BPF_CORE_READ(mount, mnt.mnt_root) || above == mount)
			break;
		dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		mount = above;
	}
	return dentry;
}

static __always_inline void copy_name(__u8 *to, struct dentry *dentry)
{
	bpf_probe_read_kernel_str(to, HASHED_HALF, BPF_CORE_READ(dentry, d_name.name));
}

static __always_inline void copy_abstract(struct unix_end *to, const void *name, __u32 len)
{
	barrier_var(len);
	if (len > SL_UNIX_NAME_MAX)
		len = SL_UNIX_NAME_MAX;
	bpf_probe_read_kernel(to, len, name);
}

static __always_inline const void *name_in(struct unix_address *address)
{
	return (const void *)address + bpf_core_field_offset(struct unix_address, name) + SUN_PATH_AT;
}

/* Of the file system of sockets; 0 for one that was closed, which nobody finds any more. */
static __always_inline __u64 socket_inode(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

static __always_inline bool is_bound_still(const struct sl_unix_bound *bound)
{
	return bound->inode && socket_inode((struct sock *)bound->sock) == bound->inode;
}

/* Remembers that the sandbox gave this socket its name. Where more live sockets have names that end alike, the first one goes. */
__noinline int remember_bound(__u64 sandbox, __u64 sock)
{
	struct unix_sock *sk = (struct unix_sock *)sock;
	struct unix_address *address = BPF_CORE_READ(sk, addr);
	struct dentry *dentry = BPF_CORE_READ(sk, path.dentry);
	struct sl_unix_bound fresh = {.sock = sock, .inode = socket_inode((struct sock *)sk)};
	struct sl_unix_slot slot = {.sandbox = sandbox};
	struct sl_unix_bound *before;
	struct unix_end end = {};
	__u32 first, way;

	if (!address || !fresh.inode)
		return 0;
	if (dentry) {
		copy_name(end.name, dentry);
		copy_name(end.parent, shown_dentry(BPF_CORE_READ(dentry, d_parent), mount_behind(BPF_CORE_READ(sk, path.mnt))));
	} else {
		copy_abstract(&end, name_in(address), BPF_CORE_READ(address, len) - SUN_PATH_AT);
	}
	first = slots_of(&end);
	for (way = 0; way < SL_UNIX_WAYS; way++) {
		slot.slot = first + way;
		before = bpf_map_lookup_elem(&sl_unix_bound, &slot);
		if (!before || !is_bound_still(before))
			break;
	}
	if (way == SL_UNIX_WAYS)
		slot.slot = first + bpf_get_prandom_u32() % SL_UNIX_WAYS;
	bpf_map_update_elem(&sl_unix_bound, &slot, &fresh, BPF_ANY);
	return 0;
}

#endif
