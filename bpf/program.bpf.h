/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which program a process runs: the file that it executed, as that was at the moment of the exec. What the process says of itself later
 * (PR_SET_MM_EXE_FILE, its name, its arguments) is never asked. Guards that a file that can't be told for certain is no program at all: one that
 * has no name any more (a memfd, a deleted one), that lies on a file system which somebody's process makes up (FUSE, mounts of a user
 * namespace), or that is executed while a debugger holds the process. Which programs a rule is for is policy.bpf.h's.
 *
 * Of a script it is the interpreter. Libraries, and whatever else a program is told to load or to run, are none of its identity.
 */
#ifndef SLUICE_PROGRAM_BPF_H
#define SLUICE_PROGRAM_BPF_H

#include "place.bpf.h"

#define FUSE_SUPER_MAGIC 0x65735546 /* include/uapi/linux/magic.h */
#define NS_OF_SECOND 1000000000ULL
#define CTIME_QUERIED (1u << 31) /* in i_ctime_nsec since Linux 6.13: that somebody has asked */

static __always_inline __u64 change_time(struct inode *inode)
{
	struct inode___hidden *hidden = (void *)inode;
	struct inode___open *open = (void *)inode;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		return BPF_CORE_READ(inode, i_ctime_sec) * NS_OF_SECOND + (BPF_CORE_READ(inode, i_ctime_nsec) & ~CTIME_QUERIED);
	if (bpf_core_field_exists(hidden->__i_ctime))
		return BPF_CORE_READ(hidden, __i_ctime.tv_sec) * NS_OF_SECOND + BPF_CORE_READ(hidden, __i_ctime.tv_nsec);
	return BPF_CORE_READ(open, i_ctime.tv_sec) * NS_OF_SECOND + BPF_CORE_READ(open, i_ctime.tv_nsec);
}

/* Leaves all of it zero for a file that can't be told for certain. */
static __always_inline void read_program(struct sl_program *program, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct super_block *super = BPF_CORE_READ(inode, i_sb);

	__builtin_memset(program, 0, sizeof(*program));
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG || !BPF_CORE_READ(inode, i_nlink))
		return;
	if (BPF_CORE_READ(super, s_magic) == FUSE_SUPER_MAGIC || BPF_CORE_READ(super, s_user_ns, level))
		return;
	program->inode = BPF_CORE_READ(inode, i_ino);
	program->size = BPF_CORE_READ(inode, i_size);
	program->dev = BPF_CORE_READ(super, s_dev);
	program->changed_ns = change_time(inode);
}

/* The current task, which has its place, executes `file`. */
static __always_inline void begin_program(struct task_struct *task, struct file *file)
{
	struct sl_pending_connect *place = place_at((__u64)task);

	if (place && !BPF_CORE_READ(task, ptrace))
		read_program(&place->program, file);
}

/* A child goes on with what its parent runs. */
static __always_inline void inherit_program(struct task_struct *parent, struct task_struct *child)
{
	struct sl_pending_connect *from = place_at((__u64)parent), *to = place_at((__u64)child);

	if (to && is_place_of(from, parent))
		to->program = from->program;
}

#endif
