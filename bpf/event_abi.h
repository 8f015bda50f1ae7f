/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every record that the BPF programs put into a ring buffer. Shared by bpf/ (which writes them) and native/ (which encodes
 * them for the wire); nothing else reads them. Fixed widths, no implicit padding, size asserts at the end.
 *
 * Words: `pid` is what ps shows (the kernel's tgid), `tid` is the thread (the kernel's pid). Times are CLOCK_BOOTTIME in ns.
 * A record is a header, the fields of its kind, then `data`: byte strings without terminators in the order that the
 * comment on `data` names. `size` counts the used bytes; a ring record may be longer than that (size classes).
 */
#ifndef SLUICE_EVENT_ABI_H
#define SLUICE_EVENT_ABI_H

#define SL_ABI_VERSION 1

#define SL_PATH_MAX 4096u /* bytes of a path kept, PATH_MAX of linux/limits.h */
#define SL_SOCKADDR_MAX 112u /* bytes of a socket address kept: all of sockaddr_un, rounded up */
#define SL_ARGS_MAX 32768u /* bytes of argv kept; args_bytes tells the true size */
#define SL_INPUT_MAX 32768u /* bytes kept of what one read gave */
#define SL_INTERPRETER_MAX 2048u /* of a script's interpreter; a #! line has 256, a rule of binfmt_misc less than 1920 */

enum sl_kind {
	SL_KIND_EXEC = 1,
	SL_KIND_FORK = 2,
	SL_KIND_EXIT = 3,
	SL_KIND_FILE_OPEN = 4,
	SL_KIND_CONNECT = 5,
	SL_KIND_EXEC_FAILED = 6,
	SL_KIND_FILE_CHANGE = 7,
	SL_KIND_STDIN = 8,
	SL_KIND_CONNECTION_CLOSED = 9,
	SL_KIND_LISTEN = 10,
	SL_KIND_SOCKET = 11,
	SL_KIND_CGROUP = 12,
	SL_KIND_PROCESS = 13, /* no record: a process that ran before us, read by the sensor (bpf/walk.bpf.c) */
	SL_KIND_QUARANTINE = 14,
	SL_KIND_DNS = 15, /* what a resolver answered */
	SL_KIND_LIMIT = 16, /* no record: a limit that was reached, counted in sl_usages and told by the sensor */
	SL_KIND_END, /* one past the last kind in use */
};

/* What the path walk met; a path without flags is whole, absolute and was reachable when it was read. */
enum sl_path_flag {
	SL_PATH_TRUNCATED = 1u << 0, /* deeper or longer than the walk; what is kept is the end of the path */
	SL_PATH_DELETED = 1u << 1, /* the file has no name any more */
	SL_PATH_DETACHED = 1u << 2, /* its mount hangs in no mount namespace: memfd, pipe, lazily unmounted */
	SL_PATH_UNRESOLVED = 1u << 3, /* no file to ask: `path` is the directory that user_path starts from, or empty */
	SL_PATH_FOREIGN =
		1u << 4, /* its mount is not one of the process's own: a tree that was cut off, or of another mount namespace */
};

enum sl_exec_flag {
	SL_EXEC_SECURE = 1u << 0, /* setuid, setgid or file capabilities took effect (AT_SECURE) */
	SL_EXEC_ARGS_FAULT = 1u << 1, /* argv could not be read: data holds no args though args_bytes > 0 */
};

enum sl_change_op {
	SL_CHANGE_RENAME = 1,
	SL_CHANGE_UNLINK = 2,
	SL_CHANGE_LINK = 3,
	SL_CHANGE_SYMLINK = 4,
	SL_CHANGE_TRUNCATE = 5,
	SL_CHANGE_CHMOD = 6,
	SL_CHANGE_MKDIR = 7,
	SL_CHANGE_RMDIR = 8,
	SL_CHANGE_MOUNT = 9,
	SL_CHANGE_MKNOD = 10,
};

enum sl_via {
	SL_VIA_CONNECT = 1, /* connect(2), or a send that connects (TCP fast open) */
	SL_VIA_SENDMSG = 2, /* a send that names its destination */
	SL_VIA_SOCKET = 3, /* socket(2) and socketpair(2): no address yet */
	SL_VIA_URING = 4, /* a connect or a send by io_uring */
	SL_VIA_PACKET = 5, /* a packet on its way out, of a socket that no other hook saw */
};

enum sl_connect_flag {
	SL_CONNECT_KERNEL_ADDR =
		1u << 0, /* the address is the kernel's own; without it, as the caller's memory had it afterwards */
};

struct sl_event_hdr {
	__u16 kind; /* enum sl_kind */
	__u16 cpu; /* that the record was made on */
	__u32 size; /* used bytes of the record, header included */
	__u64 cpu_seq; /* per CPU, counts attempts: a hole is a dropped record */
	__u64 time_ns; /* when it happened; of folded opens when they are told */
	__u64 sandbox; /* id of the cgroup at the sandbox's root: the sticky id */
	__u64 cgroup_id; /* of the cgroup the task is in now */
	__u64 start_time_ns; /* of the process (thread group leader) */
	__u32 pid;
	__u32 tid;
	__u32 ppid; /* the real parent's pid */
	__u32 uid; /* effective, in the initial user namespace */
	__u32 gid; /* effective, in the initial user namespace */
	__u32 exec_count; /* execs this process has made since it was forked */
};

struct sl_exec {
	struct sl_event_hdr hdr;
	__u64 args_bytes; /* true size of argv on the new stack, NULs included */
	__u64 exe_inode;
	__u32 exe_dev; /* kernel dev_t: major << 20 | minor */
	__u32 flags; /* enum sl_exec_flag */
	__u32 argc;
	__u32 args_len; /* bytes of argv in data */
	__u16 exe_len;
	__u16 exe_flags; /* enum sl_path_flag */
	__u16 cwd_len;
	__u16 cwd_flags; /* enum sl_path_flag */
	__u16 script_base_len;
	__u16 script_base_flags; /* enum sl_path_flag */
	__u16 script_len;
	__u16 interpreter_len;
	/*
	 * exe, cwd, args (each argument ends with a NUL), then for what an interpreter runs (by #! or binfmt_misc): the file behind the
	 * descriptor that the script was named by, the script as passed (what follows the descriptor, if any), the interpreter as named.
	 */
	__u8 data[];
};

struct sl_fork {
	struct sl_event_hdr hdr; /* of the parent */
	__u64 child_start_time_ns;
	__u32 child_pid;
	__u32 pad;
};

struct sl_exit {
	struct sl_event_hdr hdr;
	__u32 status; /* as wait(2) gives it: exit code << 8, or signal | 0x80 core */
	__u32 pad;
};

struct sl_file_open {
	struct sl_event_hdr hdr;
	__u64 inode; /* 0 when unresolved */
	__u32 dev; /* kernel dev_t: major << 20 | minor */
	__u32 flags; /* O_* as passed; the kernel's own copy has lost O_CREAT and O_TRUNC */
	__u32 error; /* positive errno, 0 = opened */
	__u32 created; /* 1 = this call created the file */
	__u16 path_len;
	__u16 path_flags; /* enum sl_path_flag */
	__u16 user_path_len;
	__u16 pad;
	__u64 repeats; /* 0: one open, just now. Else so many that were the same in all but their time, which is then in the next two */
	__u64 first_ns;
	__u64 last_ns;
	__u8 data[]; /* path, user_path (as passed) */
};

/*
 * A call on a socket. Of kind CONNECT: with the address of the other end. LISTEN: listen(2) or bind(2), with the local address. SOCKET:
 * socket(2), with no address. `addr` and `port` are for IPv4 and IPv6; any other family has `base` and `sockaddr`.
 */
struct sl_connect {
	struct sl_event_hdr hdr;
	__u64 cookie; /* of the socket; 0 = it has none */
	__u8 addr[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
	__u64 last_ns; /* when the last of `count` was made */
	__u32 count; /* identical calls that this record stands for */
	__u32 error; /* positive errno as the call returned it, EINPROGRESS included; 0 = done */
	__u16 port; /* host order */
	__u16 local_port; /* host order; 0 when not bound */
	__u16 family; /* AF_*: of the socket, not of the address */
	__u16 protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_MPTCP, …; what it means depends on the family */
	__u16 type; /* SOCK_* */
	__u16 base_len;
	__u16 base_flags; /* enum sl_path_flag */
	__u16 sockaddr_len;
	__u8 via; /* enum sl_via; 0 of a LISTEN */
	__u8 flags; /* enum sl_connect_flag */
	__u8 verdict; /* enum sl_verdict of policy_abi.h */
	__u8 why; /* enum sl_why */
	__u32 rule; /* number in the policy */
	__u32 generation; /* of the policy; 0 = none judged it */
	__u32 pad;
	__u8 data[]; /* base (what a path in sockaddr starts from, or the whole path if there is no sockaddr), sockaddr */
};

/* The end of a TCP connection that was established. The header is of the process that connected or listened, as it was then. */
struct sl_closed {
	struct sl_event_hdr hdr;
	__u64 cookie; /* of the socket */
	__u64 bytes_sent; /* payload, retransmissions left out */
	__u64 bytes_received; /* payload */
	__u64 duration_ns; /* since it was established; 0 = that was not seen */
	__u8 addr[16]; /* of the other end, as sl_connect */
	__u16 port; /* host order */
	__u16 local_port; /* host order */
	__u16 incoming; /* 1 = accepted by a listener */
	__u16 pad;
};

/*
 * Two places: where a path starts from and the path as passed. `base` is the directory a relative path starts from, empty for an
 * absolute one; for a change by descriptor (ftruncate, fchmod) it is the file itself and the path is empty. Every base is by the
 * kernel, every path lexical, because after the call there may be nothing to ask.
 */
struct sl_file_change {
	struct sl_event_hdr hdr;
	__u16 op; /* enum sl_change_op */
	__u16 base_len;
	__u16 path_len;
	__u16 new_base_len;
	__u16 new_path_len;
	__u16 base_flags; /* enum sl_path_flag */
	__u16 new_base_flags; /* enum sl_path_flag */
	__u16 pad;
	__u32 error; /* positive errno, 0 = done */
	__u32 pad2;
	__u8 data
		[]; /* base, path, new base, new path; of a symlink, and of a mount that shows no folder, `path` is as passed, without a base */
};

struct sl_exec_failed {
	struct sl_event_hdr hdr;
	__u16 base_len;
	__u16 path_len;
	__u16 base_flags; /* enum sl_path_flag */
	__u16 pad;
	__u32 error; /* positive errno */
	__u32 pad2;
	__u8 data[]; /* base, path (as sl_file_change) */
};

enum sl_input_flag {
	SL_INPUT_UNSHOWN = 1u << 0, /* typed at a terminal that did not show it, as passwords are: there is no text */
};

/* What a program that takes commands read from its standard input: by one read, or by several small ones that belong together. */
struct sl_stdin {
	struct sl_event_hdr hdr;
	__u64 bytes; /* true size of what was read */
	__u32 text_len; /* kept of it, from the start */
	__u32 flags; /* enum sl_input_flag */
	__u8 data[]; /* text */
};

enum sl_cgroup_op {
	SL_CGROUP_MKDIR = 1,
	SL_CGROUP_RMDIR = 2,
	SL_CGROUP_ATTACH = 3, /* moved to, or born in, a cgroup of its sandbox; of a process that was not ours: it is now */
	SL_CGROUP_ESCAPE = 4, /* moved to, or born in, a cgroup that is not its sandbox's; it stays ours */
};

enum sl_cgroup_flag {
	SL_CGROUP_FOUND = 1u << 0, /* made below a watched cgroup: a sandbox from here on; hdr.sandbox is its id */
	SL_CGROUP_BORN = 1u << 1, /* born there, not moved */
};

/* A change of a sandbox's cgroups, or of who is in them. The header is of the process that made or removed it, or that was moved. */
struct sl_cgroup {
	struct sl_event_hdr hdr;
	__u64 target; /* id of the cgroup: made, removed, moved to or born in */
	__u32 actor; /* pid of the process that did it, of ours or not */
	__u16 op; /* enum sl_cgroup_op */
	__u16 flags; /* enum sl_cgroup_flag */
	__u16 path_len;
	__u16 path_flags; /* enum sl_path_flag */
	__u32 pad;
	__u8 data[]; /* path below the hierarchy's root, beginning with a slash */
};

enum sl_quarantine_cause {
	SL_QUARANTINE_FORK = 1, /* the id of a new process or thread could not be stored */
	SL_QUARANTINE_MOVED = 2, /* that of a process that came into the sandbox */
	SL_QUARANTINE_CGROUPS = 3, /* more cgroups than are kept */
};

/* From here on egress of the sandbox is refused. The header is of the process that brought it about, of ours or not. */
struct sl_quarantine {
	struct sl_event_hdr hdr;
	__u32 cause; /* enum sl_quarantine_cause */
	__u32 subject; /* pid of the process concerned; 0 = a cgroup */
	__u32 stopped; /* 1 = SIGSTOP was sent to the header's process */
	__u32 pad;
};

#define SL_DNS_USUAL 512u
#define SL_DNS_MAX 4096u /* bytes of one packet that are kept */

/*
 * What came from port 53 by a socket that a task asked by: one datagram, or one segment of a stream. The header is of the task that asked,
 * as it was then; the time is when it came.
 */
struct sl_dns {
	struct sl_event_hdr hdr;
	__u64 cookie;
	__u8 resolver[16]; /* network order, IPv4 as ::ffff:a.b.c.d */
	__u32 tcp_seq; /* of the first byte */
	__u32 bytes; /* true size */
	__u32 len; /* of data */
	__u16 local_port;
	__u8 protocol; /* IPPROTO_UDP or IPPROTO_TCP */
	__u8 pad;
	__u8 data[];
};

_Static_assert(sizeof(struct sl_event_hdr) == 72, "sl_event_hdr");
_Static_assert(sizeof(struct sl_dns) == 72 + 40, "sl_dns");
_Static_assert(sizeof(struct sl_exec) == 72 + 48, "sl_exec");
_Static_assert(sizeof(struct sl_fork) == 72 + 16, "sl_fork");
_Static_assert(sizeof(struct sl_exit) == 72 + 8, "sl_exit");
_Static_assert(sizeof(struct sl_file_open) == 72 + 56, "sl_file_open");
_Static_assert(sizeof(struct sl_connect) == 72 + 72, "sl_connect");
_Static_assert(sizeof(struct sl_closed) == 72 + 56, "sl_closed");
_Static_assert(sizeof(struct sl_file_change) == 72 + 24, "sl_file_change");
_Static_assert(sizeof(struct sl_exec_failed) == 72 + 16, "sl_exec_failed");
_Static_assert(sizeof(struct sl_stdin) == 72 + 16, "sl_stdin");
_Static_assert(sizeof(struct sl_cgroup) == 72 + 24, "sl_cgroup");
_Static_assert(sizeof(struct sl_quarantine) == 72 + 16, "sl_quarantine");
/* `size` is sizeof(the struct) + the strings, so data must begin where the struct ends. */
_Static_assert(__builtin_offsetof(struct sl_exec, data) == sizeof(struct sl_exec), "sl_exec.data");
_Static_assert(__builtin_offsetof(struct sl_connect, data) == sizeof(struct sl_connect), "sl_connect.data");
_Static_assert(__builtin_offsetof(struct sl_file_change, data) == sizeof(struct sl_file_change), "sl_file_change.data");
_Static_assert(__builtin_offsetof(struct sl_exec_failed, data) == sizeof(struct sl_exec_failed), "sl_exec_failed.data");
_Static_assert(__builtin_offsetof(struct sl_stdin, data) == sizeof(struct sl_stdin), "sl_stdin.data");
_Static_assert(__builtin_offsetof(struct sl_cgroup, data) == sizeof(struct sl_cgroup), "sl_cgroup.data");
_Static_assert(__builtin_offsetof(struct sl_file_open, data) == sizeof(struct sl_file_open), "sl_file_open.data");

#endif
