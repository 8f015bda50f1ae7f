// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Opens and changes of the file tree: which file a path really led to, how it was opened, what was renamed, removed or made, and
 * what failed with which error. Opens that only repeat are counted (fold.bpf.h).
 *
 * An open is read from the descriptor it returned: another thread can close that first, then the event keeps the path as passed and
 * says unresolved. io_uring does not come by here: uring.bpf.c.
 */
#include "call_record.bpf.h"
#include <bpf/bpf_tracing.h>

#define FMODE_CREATED 0x100000 /* include/linux/fs.h */
#define O_ACCMODE 03
#define O_WRONLY 01
#define O_CREAT 0100
#define O_PATH 010000000
#define O_TRUNC 01000

/* include/uapi/linux/mount.h */
#define MS_BIND 4096
#define MS_MOVE 8192

static __always_inline __u32 open_flags(const struct call *call)
{
	__u64 flags;

	if (call->shape.flags == FLAGS_OF_CREAT)
		return O_CREAT | O_WRONLY | O_TRUNC;
	if (call->shape.flags == FLAGS_OF_OPEN_TREE)
		return O_PATH;
	flags = call_arg(call, call->shape.flags);
	if (call->shape.how & HOW_IN_STRUCT && bpf_probe_read_user(&flags, sizeof(flags), (void *)flags))
		return 0;
	return flags;
}

/* One open while it is looked at. */
struct open {
	struct file *file; /* NULL: it failed, or another thread has closed it */
	const char *user_path;
	__u32 flags;
	__u32 error;
	__u32 user_len; /* with the NUL; 0 = not to be folded */
	__u64 generation;
	__u64 inode;
	struct fold_place place;
};

/* Where the path of the event comes from: the file, or the directory that the path as passed starts from; of an absolute path none. */
static __always_inline void open_place(struct open *open, struct task_struct *task, const struct call *call, bool absolute)
{
	struct file *file = open->file;
	struct dentry *dentry = NULL;
	int dirfd = call_dirfd(call, call->shape.dir);

	open->place.mnt = 0;
	if (!file && !absolute && dirfd == AT_FDCWD) {
		dentry = BPF_CORE_READ(task, fs, pwd.dentry);
		open->place.mnt = (__u64)BPF_CORE_READ(task, fs, pwd.mnt);
	} else if (!file && !absolute) {
		file = file_of_fd(task, dirfd);
	}
	if (file) {
		dentry = BPF_CORE_READ(file, f_path.dentry);
		open->place.mnt = (__u64)BPF_CORE_READ(file, f_path.mnt);
	}
	open->place.dentry = (__u64)dentry;
	open->place.parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	open->place.name = BPF_CORE_READ(dentry, d_name.hash_len);
	file = open->file;
	open->inode = BPF_CORE_READ(file, f_inode, i_ino);
}

/*
 * The slot of this open, which is the caller's until it is given back; NULL if this open is not folded: it may have written or
 * created, its path does not fit, nobody knows what became of it, or the sweep has the slot right now.
 */
static __noinline struct fold *open_slot(struct call_scratch *scratch, struct open *open, const struct call *call)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct folds *folds;
	struct fold *slot;
	__u64 hash;
	long len;

	open->user_len = 0;
	if (open->flags & (O_ACCMODE | O_CREAT | O_TRUNC) || !open->user_path || (!open->file && !open->error) ||
	    is_restarting(call->ret))
		return NULL;
	__builtin_memset(scratch->user_path, 0, sizeof(scratch->user_path));
	len = bpf_probe_read_user_str(scratch->user_path, sizeof(scratch->user_path), open->user_path);
	if (len <= 1 || len >= FOLD_PATH_MAX)
		return NULL;
	open->generation = fold_generation();
	open_place(open, task, call, (char)scratch->user_path[0] == '/');
	hash = open->place.dentry >> 6 ^ open->flags;
#pragma unroll
	for (int i = 0; i < FOLD_PATH_MAX / 8; i++)
		hash = hash * 31 + scratch->user_path[i];
	folds = storage_of(&sl_folds, task);
	if (!folds)
		return NULL;
	slot = &folds->slots[(hash ^ hash >> 32) & (FOLD_SLOTS - 1)];
	if (!fold_take(slot))
		return NULL;
	open->user_len = len;
	return slot;
}

/* Where the path as passed is kept, with zeros behind it. */
static __always_inline __u64 *kept_user_path(struct fold *slot)
{
	struct sl_file_open *rec = fold_record(slot);

	return (__u64 *)&rec->data[rec->path_len & (FOLD_PATH_MAX - 1)];
}

static __always_inline bool same_user_path(const struct call_scratch *scratch, struct fold *slot)
{
	const __u64 *kept = kept_user_path(slot);

#pragma unroll
	for (int i = 0; i < FOLD_PATH_MAX / 8; i++) {
		if (scratch->user_path[i] != kept[i])
			return false;
	}
	return true;
}

/* Whether the open differs from the slot's by its time alone. */
static __always_inline bool is_repeat(const struct call_scratch *scratch, const struct open *open, struct fold *slot,
				      struct task_struct *task, const struct sl_task *entry)
{
	const struct sl_file_open *rec = fold_record(slot);
	const struct sl_event_hdr *hdr = &rec->hdr;
	struct task_user user = task_user(task);

	return slot->size && slot->generation == open->generation && slot->place.dentry == open->place.dentry &&
	       slot->place.mnt == open->place.mnt && slot->place.parent == open->place.parent &&
	       slot->place.name == open->place.name && rec->inode == open->inode && rec->flags == open->flags &&
	       rec->error == open->error && hdr->sandbox == entry->sandbox && hdr->exec_count == entry->exec_count &&
	       hdr->uid == user.uid && hdr->gid == user.gid && hdr->ppid == parent_pid(task) &&
	       hdr->cgroup_id == bpf_get_current_cgroup_id() && same_user_path(scratch, slot);
}

static __always_inline void count_repeat(struct fold *slot)
{
	struct sl_file_open *rec = fold_record(slot);
	__u64 now = bpf_ktime_get_boot_ns();

	if (rec->repeats && now - rec->first_ns >= FOLD_TOLD_AFTER_NS)
		fold_tell(slot);
	if (!rec->repeats)
		rec->first_ns = now;
	rec->last_ns = now;
	rec->repeats++;
}

/* From here on opens like the one that was just recorded, in `size` bytes, are repeats. */
static __always_inline void remember(const struct call_scratch *scratch, const struct open *open, struct fold *slot, __u32 size)
{
	const struct sl_file_open *rec = (const struct sl_file_open *)scratch->bytes;
	__u64 *user_path;

	slot->size = 0;
	barrier_var(size);
	if (rec->path_len >= FOLD_PATH_MAX || rec->user_path_len != open->user_len - 1 || size > FOLD_RECORD_MAX)
		return;
	bpf_probe_read_kernel(slot->bytes, size, rec);
	/* What was compared and not what was there a moment later, and zeros behind it. */
	user_path = kept_user_path(slot);
#pragma unroll
	for (int i = 0; i < FOLD_PATH_MAX / 8; i++)
		user_path[i] = scratch->user_path[i];
	slot->generation = open->generation;
	slot->place = open->place;
	slot->size = size;
}

/* Builds the record in the scratch buffer; returns its size. */
static __noinline int open_build(struct call_scratch *scratch, const struct open *open, const struct call *call)
{
	struct sl_file_open *rec = (struct sl_file_open *)scratch->bytes;
	struct file *file = open->file;
	struct place place = {};
	int end;

	if (file) {
		PATH_RESOLVE(&scratch->walk, file, f_path);
		place.base_flags = scratch->walk.flags;
		place.base_len = append_walk(scratch, sizeof(*rec));
		end = sizeof(*rec) + place.base_len;
		if (open->user_path) {
			place.path_len = append_user(scratch, end, open->user_path);
			end += place.path_len;
		}
	} else {
		end = append_place(scratch, sizeof(*rec), call_dirfd(call, call->shape.dir), open->user_path, &place);
		place.base_flags |= SL_PATH_UNRESOLVED;
	}
	rec->inode = BPF_CORE_READ(file, f_inode, i_ino);
	rec->dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	rec->created = file && BPF_CORE_READ(file, f_mode) & FMODE_CREATED ? 1 : 0;
	rec->flags = open->flags;
	rec->error = open->error;
	rec->path_len = place.base_len;
	rec->path_flags = place.base_flags;
	rec->user_path_len = place.path_len;
	rec->pad = 0;
	rec->repeats = 0;
	rec->first_ns = 0;
	rec->last_ns = 0;
	return end;
}

static __always_inline void open_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct call_scratch *scratch = call_scratch();
	struct sl_counters *count = counters();
	struct open open = {.user_path = (const char *)call_arg(call, call->shape.path)};
	struct fold *slot;
	__u64 seq;
	int end;

	if (!count || !scratch)
		return;
	open.flags = open_flags(call);
	open.error = error_of(call->ret);
	/* The path of a tree that was cut off begins at its own root: what was passed says more. */
	if (call->ret >= 0 && call->shape.flags != FLAGS_OF_OPEN_TREE)
		open.file = file_of_fd(task, call->ret);
	slot = open_slot(scratch, &open, call);
	if (slot && is_repeat(scratch, &open, slot, task, entry)) {
		count_repeat(slot);
		fold_give_back(slot);
		return;
	}
	if (slot)
		fold_tell(slot);
	seq = count_attempt(count, SL_KIND_FILE_OPEN);
	end = open_build(scratch, &open, call);
	fill_header(&((struct sl_file_open *)scratch->bytes)->hdr, task, entry, SL_KIND_FILE_OPEN, seq, end);
	submit_call(scratch, SL_KIND_FILE_OPEN, end);
	if (!slot)
		return;
	remember(scratch, &open, slot, end);
	fold_give_back(slot);
}

static __always_inline __u16 change_op(const struct call *call)
{
	if (call->shape.op == SL_CHANGE_UNLINK && call->shape.flags && call_arg(call, call->shape.flags) & AT_REMOVEDIR)
		return SL_CHANGE_RMDIR;
	return call->shape.op;
}

/* Whether the first path is text, not a place: what a symlink points to, or the name of what is mounted. */
static __always_inline bool names_no_place(const struct call *call)
{
	if (call->shape.op == SL_CHANGE_SYMLINK)
		return true;
	return call->shape.op == SL_CHANGE_MOUNT && call->shape.flags &&
	       !(call_arg(call, call->shape.flags) & (MS_BIND | MS_MOVE));
}

static __always_inline void change_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct call_scratch *scratch = call_scratch();
	const char *path = (const char *)call_arg(call, call->shape.path);
	const char *new_path = (const char *)call_arg(call, call->shape.path2);
	struct sl_counters *count = counters();
	struct sl_file_change *rec;
	struct place from = {}, to = {};
	__u64 seq;
	int end;

	if (!count || !scratch)
		return;
	seq = count_attempt(count, SL_KIND_FILE_CHANGE);
	rec = (struct sl_file_change *)scratch->bytes;
	if (names_no_place(call)) {
		if (path)
			from.path_len = append_user(scratch, sizeof(*rec), path);
		end = sizeof(*rec) + from.path_len;
	} else {
		end = append_place(scratch, sizeof(*rec), call_dirfd(call, call->shape.dir), path, &from);
	}
	if (call->shape.path2)
		end = append_place(scratch, end, call_dirfd(call, call->shape.dir2), new_path, &to);
	rec->op = change_op(call);
	put_places(rec, &from, &to);
	rec->error = error_of(call->ret);
	rec->pad = 0;
	rec->pad2 = 0;
	fill_header(&rec->hdr, task, entry, SL_KIND_FILE_CHANGE, seq, end);
	submit_call(scratch, SL_KIND_FILE_CHANGE, end);
}

/* An exec that did not happen. The old image is still there, so its arguments can be read now. */
static __always_inline void exec_failed_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	struct call_scratch *scratch = call_scratch();
	const char *path = (const char *)call_arg(call, call->shape.path);
	struct sl_counters *count = counters();
	struct sl_exec_failed *rec;
	struct place place = {};
	__u64 seq;
	int end;

	if (!count || !scratch)
		return;
	seq = count_attempt(count, SL_KIND_EXEC_FAILED);
	rec = (struct sl_exec_failed *)scratch->bytes;
	end = append_place(scratch, sizeof(*rec), call_dirfd(call, call->shape.dir), path, &place);
	rec->base_len = place.base_len;
	rec->base_flags = place.base_flags;
	rec->path_len = place.path_len;
	rec->error = error_of(call->ret);
	rec->pad = 0;
	rec->pad2 = 0;
	fill_header(&rec->hdr, task, entry, SL_KIND_EXEC_FAILED, seq, end);
	submit_call(scratch, SL_KIND_EXEC_FAILED, end);
}
