/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Folding of opens that only repeat: a thread that opens a file to read again and again makes one record of the first open and one
 * with the count of the others. A repeat is the same in everything that its event would tell but the time: thread, user, file,
 * path, path as passed, flags, result. It costs neither a walk nor a record.
 *
 * No count is ever lost: a thread remembers its last few opens in storage of its own, and what is there is told before another open
 * takes its place, when the thread execs or ends, when a second has passed, and by a sweep of user space over threads that rest.
 * Paths that do not fit are not folded. Writes and opens that could create are never folded, nor are first occurrences.
 */
#ifndef SLUICE_FOLD_BPF_H
#define SLUICE_FOLD_BPF_H

#include "emit.bpf.h"

#define FOLD_SLOTS 8 /* a power of two */
#define FOLD_PATH_MAX 128 /* of either path, a NUL included */
#define FOLD_RECORD_MAX (sizeof(struct sl_file_open) + 2 * FOLD_PATH_MAX)
#define FOLD_TOLD_AFTER_NS 1000000000ull

/* What must be the same for the path that the kernel would give to be the same. */
struct fold_place {
	__u64 dentry;
	__u64 mnt;
	__u64 parent;
	__u64 name; /* its hash and length, as the kernel keeps them */
};

struct fold {
	__u32 busy; /* by the thread, or by the sweep; nobody waits for it */
	__u32 size; /* of the record, 0 = empty */
	__u64 generation;
	struct fold_place place;
	__u64 bytes[FOLD_RECORD_MAX / 8]; /* the record, then zeros */
};

struct folds {
	struct fold slots[FOLD_SLOTS];
};

/* Each entry with its storage header is less than a page. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct folds);
} sl_folds SEC(".maps");

/* Changes when any task of the host renames or mounts: every path can be another one then. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sl_paths_moved SEC(".maps");

static __always_inline void fold_paths_moved(void)
{
	__u32 zero = 0;
	__u64 *generation = bpf_map_lookup_elem(&sl_paths_moved, &zero);

	if (generation)
		__sync_fetch_and_add(generation, 1);
}

static __always_inline __u64 fold_generation(void)
{
	__u32 zero = 0;
	__u64 *generation = bpf_map_lookup_elem(&sl_paths_moved, &zero);

	return generation ? *generation : 0;
}

static __always_inline struct sl_file_open *fold_record(struct fold *slot)
{
	return (struct sl_file_open *)slot->bytes;
}

static __always_inline bool fold_take(struct fold *slot)
{
	return !__sync_lock_test_and_set(&slot->busy, 1);
}

static __always_inline void fold_give_back(struct fold *slot)
{
	__sync_lock_test_and_set(&slot->busy, 0);
}

/* Tells what a slot that the caller has taken counted. A global function: the verifier goes through it once. */
__noinline int fold_tell(struct fold *slot)
{
	struct sl_counters *count = counters();
	struct sl_share *share;
	struct sl_file_open *rec;
	__u32 size;

	if (!slot || !count)
		return 0;
	rec = fold_record(slot);
	size = slot->size;
	if (!rec->repeats || size > FOLD_RECORD_MAX)
		return 0;
	share = share_of(rec->hdr.sandbox);
	rec->hdr.cpu = bpf_get_smp_processor_id();
	rec->hdr.cpu_seq = count_attempts(count, SL_KIND_FILE_OPEN, rec->repeats);
	rec->hdr.time_ns = bpf_ktime_get_boot_ns();
	OUTPUT(share, SL_KIND_FILE_OPEN, &sl_ring_bulk, SL_RING_BULK, rec, size, rec->repeats);
	rec->repeats = 0;
	return 0;
}

/* Tells all that a thread counted; `forget`: nothing is a repeat of it any more. */
static __always_inline void fold_tell_all(struct task_struct *task, bool forget)
{
	struct folds *folds = bpf_task_storage_get(&sl_folds, task, 0, 0);

	if (!folds)
		return;
	for (int i = 0; i < FOLD_SLOTS; i++) {
		struct fold *slot = &folds->slots[i];

		/* Busy: the other side is telling it. */
		if (!slot->size || !fold_take(slot))
			continue;
		fold_tell(slot);
		if (forget)
			slot->size = 0;
		fold_give_back(slot);
	}
}

#endif
