/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What an exec's record is put together from, and the part of it that only scripts have: the script and its interpreter, as the kernel was
 * given them. Not here: the record itself (process.bpf.c).
 */
#ifndef SLUICE_SCRIPT_BPF_H
#define SLUICE_SCRIPT_BPF_H

#include "emit.bpf.h"
#include "path.bpf.h"

#define SCRIPT_BYTES_MAX (2 * SL_PATH_MAX + SL_INTERPRETER_MAX)
#define FD_PATH "/dev/fd/" /* what the kernel names a program or script by that was passed as a descriptor */
#define FD_PATH_LEN 8
#define FD_DIGITS_MAX 10

struct exec_scratch {
	struct path_walk exe;
	struct path_walk cwd;
	struct path_walk script_base;
	__u8 script[SCRIPT_BYTES_MAX +
		    SL_PATH_MAX]; /* the strings of a script, one after the other; the slack is for the verifier */
};

struct exec_args {
	unsigned long start;
	__u64 bytes; /* true size */
	__u64 seq;
	__u32 len; /* bytes kept */
	__u32 flags;
	__u32 argc;
	__u32 script_bytes; /* of the three strings of a script together */
	__u16 script_base_len;
	__u16 script_base_flags;
	__u16 script_len;
	__u16 interpreter_len;
	struct sl_task entry; /* a copy: what the header needs of it */
	__u64 record_bytes; /* in the ring; 0 = not there */
};

/* Appends a string of the kernel's to the script's strings; returns its length without the NUL. */
static __always_inline __u32 script_append(struct exec_scratch *scratch, struct exec_args *args, const char *from,
					   const __u32 max)
{
	__u32 at = args->script_bytes;
	long read;

	barrier_var(at);
	if (at > SCRIPT_BYTES_MAX)
		return 0;
	read = bpf_probe_read_kernel_str(&scratch->script[at], max, from);
	if (read <= 0)
		return 0;
	args->script_bytes = at + read - 1;
	return read - 1;
}

/*
 * What follows the descriptor in a path "/dev/fd/N" or "/dev/fd/N/NAME" of the kernel's making; the file behind the descriptor goes
 * before it. Another thread could have put another file there since the kernel opened the script.
 */
static __noinline const char *script_by_fd(struct exec_scratch *scratch, struct exec_args *args, const char *path)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char digits[FD_DIGITS_MAX + 1] = {};
	struct file *file;
	__u32 fd = 0, len;
	int i;

	bpf_probe_read_kernel_str(digits, sizeof(digits), path + FD_PATH_LEN);
	for (i = 0; i < FD_DIGITS_MAX && digits[i] >= '0' && digits[i] <= '9'; i++)
		fd = fd * 10 + (digits[i] - '0');
	file = file_of_fd(task, fd);
	if (!file) {
		args->script_base_flags = SL_PATH_UNRESOLVED;
		return path;
	}
	PATH_RESOLVE(&scratch->script_base, file, f_path);
	len = path_len(&scratch->script_base);
	barrier_var(len);
	if (len > SL_PATH_MAX)
		return path;
	bpf_probe_read_kernel(scratch->script, len, &scratch->script_base.data[scratch->script_base.start & (SL_PATH_MAX - 1)]);
	args->script_base_len = len;
	args->script_base_flags = scratch->script_base.flags;
	args->script_bytes = len;
	return path + FD_PATH_LEN + i + (i < FD_DIGITS_MAX && digits[i] == '/');
}

/* By #! lines, several deep, or binfmt_misc: the kernel was told to execute `filename` and executes `interp` with it. */
static __always_inline void read_script(struct exec_scratch *scratch, struct exec_args *args, struct linux_binprm *bprm)
{
	const char *filename = BPF_CORE_READ(bprm, filename);
	const char *interp = BPF_CORE_READ(bprm, interp);

	if (filename == interp)
		return;
	if (filename == BPF_CORE_READ(bprm, fdpath))
		filename = script_by_fd(scratch, args, filename);
	args->script_len = script_append(scratch, args, filename, SL_PATH_MAX);
	args->interpreter_len = script_append(scratch, args, interp, SL_INTERPRETER_MAX);
}

#endif
