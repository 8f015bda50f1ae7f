/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Building a record of a call that names paths: the fixed part, then byte strings one after the other, in a scratch buffer that is
 * copied to the ring whole. Every length is bounded here, where the verifier can see it.
 */
#ifndef SLUICE_CALL_RECORD_BPF_H
#define SLUICE_CALL_RECORD_BPF_H

#include "emit.bpf.h"
#include "fold.bpf.h"
#include "path.bpf.h"
#include "syscall.bpf.h"

#define CALL_FIXED_MAX 136 /* largest fixed part of a record that is built here */
#define CALL_STRINGS_MAX 4

struct call_scratch {
	__u8 bytes[CALL_FIXED_MAX + CALL_STRINGS_MAX * SL_PATH_MAX];
	struct path_walk walk;
	__u64 user_path[FOLD_PATH_MAX / 8]; /* padded with zeros */
};

/* Used by the sys_exit hook alone: the kernel never runs one program twice at a time on a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct call_scratch);
} sl_call_scratch SEC(".maps");

/* Where a path starts from, and the path as passed. */
struct place {
	__u16 base_len;
	__u16 base_flags; /* enum sl_path_flag */
	__u16 path_len;
	__u16 pad;
};

static __always_inline void put_places(struct sl_file_change *rec, const struct place *from, const struct place *to)
{
	rec->base_len = from->base_len;
	rec->base_flags = from->base_flags;
	rec->path_len = from->path_len;
	rec->new_base_len = to->base_len;
	rec->new_base_flags = to->base_flags;
	rec->new_path_len = to->path_len;
}

static __always_inline struct call_scratch *call_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sl_call_scratch, &zero);
}

/* Appends the walked path at `at`; returns its length. */
static __always_inline __u32 append_walk(struct call_scratch *scratch, __u32 at)
{
	__u32 len = path_len(&scratch->walk);

	/* Without the barriers clang folds the checks away and the verifier loses the bounds. */
	barrier_var(len);
	barrier_var(at);
	if (len > SL_PATH_MAX || at > sizeof(scratch->bytes) - SL_PATH_MAX)
		return 0;
	bpf_probe_read_kernel(&scratch->bytes[at], len, &scratch->walk.data[scratch->walk.start & (SL_PATH_MAX - 1)]);
	return len;
}

/* Appends a path of the caller's at `at`; returns its length without the NUL. */
static __noinline int append_user(struct call_scratch *scratch, __u32 at, const char *path)
{
	struct sl_counters *count = counters();
	long read;

	barrier_var(at);
	if (at > sizeof(scratch->bytes) - SL_PATH_MAX)
		return 0;
	read = bpf_probe_read_user_str(&scratch->bytes[at], SL_PATH_MAX, path);
	if (read > 0)
		return read - 1;
	if (count)
		count_read_failure(count);
	return 0;
}

/* The current directory, or the file behind a descriptor, into the scratch's walk. */
static __always_inline void walk_base(struct call_scratch *scratch, struct task_struct *task, int dirfd)
{
	struct file *file;

	if (dirfd == AT_FDCWD) {
		path_resolve(&scratch->walk, (__u64)BPF_CORE_READ(task, fs, pwd.dentry), (__u64)BPF_CORE_READ(task, fs, pwd.mnt));
		return;
	}
	file = file_of_fd(task, dirfd);
	PATH_RESOLVE(&scratch->walk, file, f_path);
}

/*
 * Appends the place that a call names by a directory and a path: the directory only if the path needs it, the path only if there
 * is one. Returns where the next string goes.
 */
/* Not needed by every object. */
__attribute__((unused)) static __noinline int append_place(struct call_scratch *scratch, __u32 at, int dirfd, const char *path,
							   struct place *ret_place)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char first = 0;

	ret_place->base_len = 0;
	ret_place->base_flags = 0;
	ret_place->path_len = 0;
	if (path)
		bpf_probe_read_user(&first, sizeof(first), path);
	if (first != '/') {
		walk_base(scratch, task, dirfd);
		ret_place->base_flags = scratch->walk.flags;
		ret_place->base_len = append_walk(scratch, at);
		at += ret_place->base_len;
	}
	if (path) {
		ret_place->path_len = append_user(scratch, at, path);
		at += ret_place->path_len;
	}
	return at;
}

/* Copies the record of `size` bytes to the bulk ring and counts what came of it. A global function: the verifier goes through it once. */
__noinline int submit_call(struct call_scratch *scratch, __u32 kind, __u32 size)
{
	struct sl_share *share;

	if (!scratch)
		return 0;
	share = share_of(((struct sl_event_hdr *)scratch->bytes)->sandbox);
	barrier_var(size);
	if (size > sizeof(scratch->bytes))
		size = sizeof(scratch->bytes);
	if (kind == SL_KIND_SOCKET)
		OUTPUT_VERDICT(share, kind, ((struct sl_connect *)scratch->bytes)->verdict, scratch->bytes, size, 1);
	else
		OUTPUT(share, kind, &sl_ring_bulk, SL_RING_BULK, scratch->bytes, size, 1);
	return 0;
}

#endif
