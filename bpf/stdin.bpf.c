// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What shells and interpreters read from their standard input: commands that no argv shows. Read from the caller's memory after the call,
 * where another thread can have changed it. A program counts by the name of its file, when it execs; what it forks counts like it.
 *
 * Only descriptor 0, and only what has no other trace: a pipe, a socket, a terminal, a file without a name. A file with a name was
 * opened, and the open is told. Not seen: a standard input that the program moved to another descriptor, or maps, splices or receives
 * with recvmmsg(2) or io_uring; pieces beyond the first few of a vectored read, which are counted without their text.
 */
#include "identity.bpf.h"
#include "input.bpf.h"
#include "path.bpf.h"
#include "syscall.bpf.h"

#define MEMORY_DEVICES 1 /* major number of /dev/null, /dev/zero, /dev/urandom */
#define MINOR_BITS 20

#define MSG_PEEK 2

/* include/uapi/asm-generic/termbits-common.h and termbits.h */
#define ICRNL 0000400
#define ISIG 0000001
#define ICANON 0000002
#define ECHO 0000010

#define PROGRAM_NAME_MAX 16
#define SMALL_READ_MAX 64
#define VECTORS_MAX 16
#define INPUT_TOLD_AFTER_NS 1000000000ull
#define TOLD_TEXT_MAX \
	(4ull         \
	 << 20) /* bytes that one thread's image has told: a ring holds it, and one that is fed data must not crowd out everything else */

/* Base names without their version, padded with zeros: python3.11 is python. */
const char command_readers[][PROGRAM_NAME_MAX] = {
	"ash",  "bash",   "busybox", "bun",   "csh",  "dash",   "deno", "elvish", "fish",      "guile", "irb",   "julia", "ksh",
	"lksh", "lua",    "luajit",  "mksh",  "node", "nodejs", "nu",   "octave", "osascript", "osh",   "perl",  "php",   "pwsh",
	"pypy", "python", "R",       "rbash", "rc",   "ruby",   "sh",   "tclsh",  "tcsh",      "wish",  "xonsh", "yash",  "zsh",
};

static __always_inline bool is_version(char c)
{
	return (c >= '0' && c <= '9') || c == '.' || c == '-';
}

/* Whether the program that the current task runs takes commands from its standard input. Global: the verifier goes through it once. */
__noinline int is_command_reader(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const unsigned char *base = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
	char whole[PROGRAM_NAME_MAX] = {};
	__u64 name[2] = {};
	const __u64 *known;
	__u32 len, i;

	bpf_probe_read_kernel_str(whole, sizeof(whole), base);
	for (len = 0; len < PROGRAM_NAME_MAX - 1; len++) {
		if (!whole[len] || is_version(whole[len]))
			break;
	}
	barrier_var(len);
	if (len >= PROGRAM_NAME_MAX || bpf_probe_read_kernel(name, len, base))
		return false;
	for (i = 0; i < sizeof(command_readers) / PROGRAM_NAME_MAX; i++) {
		known = (const __u64 *)command_readers[i];
		if (known[0] == name[0] && known[1] == name[1])
			return true;
	}
	return false;
}

/* Whether what is read from `file` is told nowhere else. */
static __always_inline bool is_input(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	switch (BPF_CORE_READ(inode, i_mode) & S_IFMT) {
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	case S_IFCHR:
		return BPF_CORE_READ(inode, i_rdev) >> MINOR_BITS != MEMORY_DEVICES;
	case S_IFREG: /* a here-document, or a memfd */
		return !BPF_CORE_READ(inode, i_nlink);
	}
	return false;
}

/*
 * Whether standard input is a terminal that does not show what is typed, because the program asked for that: a password. Editors of lines
 * (readline, zle, libuv) do without echo as well, to show the line themselves; by what else they switch off they are told apart. A
 * program that reads a password by such an editor is not. Global: the verifier goes through it once.
 */
__noinline int is_unshown(void)
{
	struct file *file = file_of_fd(bpf_get_current_task_btf(), 0);
	struct tty_file_private *terminal;
	struct file *theirs;
	__u32 local, input;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFCHR)
		return false;
	/* Devices are many. Only an open terminal's private data points back at its file. */
	terminal = BPF_CORE_READ(file, private_data);
	theirs = BPF_CORE_READ(terminal, file);
	if (theirs != file)
		return false;
	local = BPF_CORE_READ(terminal, tty, termios.c_lflag);
	input = BPF_CORE_READ(terminal, tty, termios.c_iflag);
	if (local & ECHO)
		return false;
	return local & ICANON || (local & ISIG && input & ICRNL);
}

/* One body for every size class, as exec_emit. */
static __always_inline void input_emit(struct sl_counters *count, const struct sl_task *entry, __u64 at, __u32 bytes, __u32 flags,
				       const __u32 max)
{
	__u64 seq = count_attempt(count, SL_KIND_STDIN);
	struct sl_share *share;
	struct sl_stdin *rec;
	__u32 len = bytes;

	share = share_of(entry->sandbox);
	rec = has_room(share, SL_RING_BULK) ? bpf_ringbuf_reserve(&sl_ring_bulk, sizeof(*rec) + max, 0) : NULL;
	if (!rec) {
		count_dropped(share, SL_KIND_STDIN);
		return;
	}
	count_told(share, SL_KIND_STDIN, SL_RING_BULK, sizeof(*rec) + max);
	barrier_var(len);
	if (len > max)
		len = max;
	if (!at || flags || bpf_probe_read_user(rec->data, len, (void *)at)) {
		len = 0;
		if (at && !flags)
			count_read_failure(count);
	}
	fill_header(&rec->hdr, bpf_get_current_task_btf(), entry, SL_KIND_STDIN, seq, sizeof(*rec) + len);
	rec->bytes = bytes;
	rec->text_len = len;
	rec->flags = flags;
	bpf_ringbuf_submit(rec, 0);
}

/* Begins, or goes on with, what the thread reads in pieces, with room for one more. */
static __always_inline void input_begin(struct input *input, const struct sl_task *entry)
{
	if (input->rec.text_len > INPUT_KEPT_MAX - SMALL_READ_MAX)
		input_tell(input);
	if (input->rec.bytes)
		return;
	fill_header(&input->rec.hdr, bpf_get_current_task_btf(), entry, SL_KIND_STDIN, 0, 0);
	input->first_ns = input->rec.hdr.time_ns;
}

/* Adds a small piece; tells the whole if a line ends with it. */
static __always_inline void input_append(struct input *input, const struct sl_task *entry, __u64 from, __u32 bytes)
{
	__u32 at, len = bytes;
	__u8 last = 0;

	input_begin(input, entry);
	at = input->rec.text_len;
	barrier_var(at);
	barrier_var(len);
	if (at > INPUT_KEPT_MAX - SMALL_READ_MAX || len > SMALL_READ_MAX)
		return;
	input->rec.bytes += bytes;
	input->told += bytes;
	if (bpf_probe_read_user(&input->text[at], len, (void *)from))
		return;
	input->rec.text_len = at + len;
	bpf_probe_read_user(&last, sizeof(last), (void *)(from + bytes - 1));
	if (last == '\n' || last == '\r')
		input_tell(input);
}

/* From here on this thread's input is only counted. */
static __always_inline void input_count(struct input *input, const struct sl_task *entry, __u32 bytes)
{
	if (input->rec.bytes && input->rec.text_len)
		input_tell(input);
	input_begin(input, entry);
	input->rec.bytes += bytes;
	if (bpf_ktime_get_boot_ns() - input->first_ns >= INPUT_TOLD_AFTER_NS)
		input_tell(input);
}

/* Of what is not shown only the size is kept, by lines. */
static __always_inline void input_unshown(struct input *input, const struct sl_task *entry, __u64 from, __u32 bytes)
{
	__u8 last = 0;

	input_begin(input, entry);
	input->rec.flags = SL_INPUT_UNSHOWN;
	input->rec.bytes += bytes;
	if (from)
		bpf_probe_read_user(&last, sizeof(last), (void *)(from + bytes - 1));
	if (last == '\n' || last == '\r')
		input_tell(input);
}

/* One piece of what was read: `bytes` of them at `at`, which is 0 where that is not known. `flags`: enum sl_input_flag. */
__noinline int input_part(__u64 at, __u32 bytes, __u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_task *entry = entry_of(task);
	struct sl_counters *count = counters();
	struct input *input;
	bool taken;

	if (!entry || !count || !bytes)
		return 0;
	input = storage_of(&sl_inputs, task);
	taken = input && input_take(input);
	if (taken && input->rec.hdr.exec_count != entry->exec_count)
		input->told = 0;
	if (taken && input->rec.bytes && input->rec.flags != flags)
		input_tell(input);
	if (taken && flags) {
		input_unshown(input, entry, at, bytes);
		input_give_back(input);
		return 0;
	}
	if (taken && input->told > TOLD_TEXT_MAX) {
		input_count(input, entry, bytes);
		input_give_back(input);
		return 0;
	}
	if (taken && at && bytes <= SMALL_READ_MAX) {
		input_append(input, entry, at, bytes);
		input_give_back(input);
		return 0;
	}
	if (taken) {
		input_tell(input);
		input->told += bytes;
		input->rec.hdr.exec_count = entry->exec_count;
		input_give_back(input);
	}
	if (bytes <= 512)
		input_emit(count, entry, at, bytes, flags, 512);
	else if (bytes <= 4096)
		input_emit(count, entry, at, bytes, flags, 4096);
	else
		input_emit(count, entry, at, bytes, flags, SL_INPUT_MAX);
	return 0;
}

/* A piece by its struct iovec; returns its size. */
static __always_inline __u32 input_vector(__u64 at, bool narrow, __u32 left, __u32 flags)
{
	__u64 wide[2] = {};
	__u32 small[2] = {};

	if (narrow) {
		bpf_probe_read_user(small, sizeof(small), (void *)at);
		wide[0] = small[0];
		wide[1] = small[1];
	} else {
		bpf_probe_read_user(wide, sizeof(wide), (void *)at);
	}
	if (wide[1] > left)
		wide[1] = left;
	input_part(wide[0], wide[1], flags);
	return wide[1];
}

/* `bytes` were read into the vectors at `at`; of a message, into those that its header names. */
__noinline int input_vectors(__u64 at, __u32 is_message, __u32 narrow, __u32 bytes, __u32 flags)
{
	__u32 narrow_at = 0;
	__u32 left = bytes;
	__u32 i;

	if (is_message && narrow) {
		bpf_probe_read_user(&narrow_at, sizeof(narrow_at), (void *)(at + 8));
		at = narrow_at;
	} else if (is_message) {
		bpf_probe_read_user(&at, sizeof(at), (void *)(at + 16));
	}
	for (i = 0; i < VECTORS_MAX && left; i++)
		left -= input_vector(at + i * (narrow ? 8 : 16), narrow, left, flags);
	return input_part(0, left, flags);
}

static __always_inline void stdin_emit(struct task_struct *task, const struct sl_task *entry, const struct call *call)
{
	__u64 at = call_arg(call, call->shape.path);
	__u32 flags;

	if (!(entry->flags & SL_TASK_READS_COMMANDS) || call->ret < 0 || call_arg(call, call->shape.dir) ||
	    !is_input(file_of_fd(task, 0)))
		return;
	if (call->shape.flags && call_arg(call, call->shape.flags) & MSG_PEEK)
		return;
	flags = is_unshown() ? SL_INPUT_UNSHOWN : 0;
	if (!call->ret)
		input_tell_of(task);
	else if (call->shape.op == READ_BUFFER)
		input_part(at, call->ret, flags);
	else
		input_vectors(at, call->shape.op == READ_MSG, call->narrow, call->ret, flags);
}
