/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The tables of the system calls that are looked at: what each is to us, and which of its arguments is what. One a call convention, as each
 * has numbers of its own. Not here: where arguments are read from (syscall.bpf.h).
 */
#ifndef SLUICE_SYSCALL_TABLES_BPF_H
#define SLUICE_SYSCALL_TABLES_BPF_H

#include "vmlinux_min.h"
#include "event_abi.h"

#define CALLS_MAX 512 /* numbers in the tables, a power of two */

enum call_kind {
	CALL_NONE,
	CALL_OPEN,
	CALL_CONNECT, /* of these five `dir` is the socket, `path` its address and `flags` the address's size */
	CALL_SEND,
	CALL_BIND,
	CALL_LISTEN,
	CALL_SOCKET,
	CALL_SOCKETCALL, /* any of the five before, with its arguments in memory */
	CALL_CHANGE,
	CALL_EXEC,
	CALL_READ, /* `dir` is the file, `path` where to, `flags` those of a receive */
	CALL_MOUNT, /* makes no event */
	CALL_RECEIVE, /* by it a socket can come in from another process; makes no event */
	CALL_FORK, /* a child comes by its end before anything else; makes no event */
};

/* Which argument is what, counted from 1; 0 = the call has none (a directory is then the current one). */
struct call_shape {
	__u8 kind; /* enum call_kind */
	__u8 op; /* enum sl_change_op of a change; …_op of a send, a read and a receive; SOCKET_PAIR of a socket */
	__u8 dir;
	__u8 path;
	__u8 dir2;
	__u8 path2;
	__u8 flags; /* of an open, of unlinkat, or of mount */
	__u8 how; /* HOW_… */
};

#define HOW_IN_STRUCT 1 /* flags are the first field of the struct that the argument points to (openat2) */
#define HOW_MOVES_PATHS 2 /* after it the same file may have another path */
#define HOW_RECEIVES 4 /* a read that is a receive too: of RECEIVE_ANY */

/* Where a send has its destination. */
enum send_op {
	SEND_TO, /* in its arguments */
	SEND_MSG, /* in a struct msghdr */
	SEND_MMSG, /* in many */
};

/* Where a read puts what it gives. */
enum read_op {
	READ_BUFFER, /* in one place */
	READ_VECTOR, /* in several, by an array of struct iovec */
	READ_MSG, /* the same by a struct msghdr */
};

/* What has come in. */
enum receive_op {
	RECEIVE_ANY, /* nobody can tell: any descriptor, if `dir` is a socket that can bring some */
	RECEIVE_RESULT, /* the descriptor that the call returned */
};

#define SOCKET_PAIR 1

/* Opens of creat(2), which has no flags argument. */
#define FLAGS_OF_CREAT 0xff
/* Of open_tree(2), whose flags are its own. */
#define FLAGS_OF_OPEN_TREE 0xfe

const struct call_shape native_calls[CALLS_MAX] = {
	[0] = {.kind = CALL_READ, .dir = 1, .path = 2}, /* read */
	[2] = {.kind = CALL_OPEN, .path = 1, .flags = 2}, /* open */
	[17] = {.kind = CALL_READ, .dir = 1, .path = 2}, /* pread64 */
	[19] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* readv */
	[41] = {.kind = CALL_SOCKET}, /* socket */
	[42] = {.kind = CALL_CONNECT, .dir = 1, .path = 2, .flags = 3}, /* connect */
	[43] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* accept */
	[44] = {.kind = CALL_SEND, .op = SEND_TO, .dir = 1, .path = 5, .flags = 6}, /* sendto */
	[45] = {.kind = CALL_READ, .dir = 1, .path = 2, .flags = 4}, /* recvfrom */
	[46] = {.kind = CALL_SEND, .op = SEND_MSG, .dir = 1, .path = 2}, /* sendmsg */
	[47] = {.kind = CALL_READ, .op = READ_MSG, .dir = 1, .path = 2, .flags = 3, .how = HOW_RECEIVES}, /* recvmsg */
	[49] = {.kind = CALL_BIND, .dir = 1, .path = 2, .flags = 3}, /* bind */
	[50] = {.kind = CALL_LISTEN, .dir = 1}, /* listen */
	[53] = {.kind = CALL_SOCKET, .op = SOCKET_PAIR}, /* socketpair */
	[56] = {.kind = CALL_FORK}, /* clone */
	[57] = {.kind = CALL_FORK}, /* fork */
	[58] = {.kind = CALL_FORK}, /* vfork */
	[59] = {.kind = CALL_EXEC, .path = 1}, /* execve */
	[76] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .path = 1}, /* truncate */
	[77] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .dir = 1}, /* ftruncate */
	[82] = {.kind = CALL_CHANGE, .op = SL_CHANGE_RENAME, .path = 1, .path2 = 2, .how = HOW_MOVES_PATHS}, /* rename */
	[83] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKDIR, .path = 1}, /* mkdir */
	[84] = {.kind = CALL_CHANGE, .op = SL_CHANGE_RMDIR, .path = 1}, /* rmdir */
	[85] = {.kind = CALL_OPEN, .path = 1, .flags = FLAGS_OF_CREAT}, /* creat */
	[86] = {.kind = CALL_CHANGE, .op = SL_CHANGE_LINK, .path = 1, .path2 = 2}, /* link */
	[87] = {.kind = CALL_CHANGE, .op = SL_CHANGE_UNLINK, .path = 1}, /* unlink */
	[88] = {.kind = CALL_CHANGE, .op = SL_CHANGE_SYMLINK, .path = 1, .path2 = 2}, /* symlink */
	[90] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .path = 1}, /* chmod */
	[91] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1}, /* fchmod */
	[133] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKNOD, .path = 1}, /* mknod */
	[155] = {.kind = CALL_MOUNT, .how = HOW_MOVES_PATHS}, /* pivot_root */
	[165] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_MOUNT,
		 .path = 1,
		 .path2 = 2,
		 .flags = 4,
		 .how = HOW_MOVES_PATHS}, /* mount */
	[166] = {.kind = CALL_MOUNT, .how = HOW_MOVES_PATHS}, /* umount2 */
	[257] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = 3}, /* openat */
	[258] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKDIR, .dir = 1, .path = 2}, /* mkdirat */
	[259] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKNOD, .dir = 1, .path = 2}, /* mknodat */
	[263] = {.kind = CALL_CHANGE, .op = SL_CHANGE_UNLINK, .dir = 1, .path = 2, .flags = 3}, /* unlinkat */
	[264] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_RENAME,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* renameat */
	[265] = {.kind = CALL_CHANGE, .op = SL_CHANGE_LINK, .dir = 1, .path = 2, .dir2 = 3, .path2 = 4}, /* linkat */
	[266] = {.kind = CALL_CHANGE, .op = SL_CHANGE_SYMLINK, .path = 1, .dir2 = 2, .path2 = 3}, /* symlinkat */
	[268] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1, .path = 2}, /* fchmodat */
	[288] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* accept4 */
	[295] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* preadv */
	[299] = {.kind = CALL_RECEIVE, .dir = 1}, /* recvmmsg */
	[304] = {.kind = CALL_OPEN, .dir = 1, .flags = 3}, /* open_by_handle_at */
	[307] = {.kind = CALL_SEND, .op = SEND_MMSG, .dir = 1, .path = 2}, /* sendmmsg */
	[316] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_RENAME,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* renameat2 */
	[322] = {.kind = CALL_EXEC, .dir = 1, .path = 2}, /* execveat */
	[327] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* preadv2 */
	[428] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = FLAGS_OF_OPEN_TREE}, /* open_tree */
	[429] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_MOUNT,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* move_mount */
	[435] = {.kind = CALL_FORK}, /* clone3 */
	[437] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = 3, .how = HOW_IN_STRUCT}, /* openat2 */
	[438] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* pidfd_getfd */
	[452] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1, .path = 2}, /* fchmodat2 */
};

/* arch/x86/entry/syscalls/syscall_32.tbl */
const struct call_shape compat_calls[CALLS_MAX] = {
	[2] = {.kind = CALL_FORK}, /* fork */
	[3] = {.kind = CALL_READ, .dir = 1, .path = 2}, /* read */
	[5] = {.kind = CALL_OPEN, .path = 1, .flags = 2}, /* open */
	[8] = {.kind = CALL_OPEN, .path = 1, .flags = FLAGS_OF_CREAT}, /* creat */
	[9] = {.kind = CALL_CHANGE, .op = SL_CHANGE_LINK, .path = 1, .path2 = 2}, /* link */
	[10] = {.kind = CALL_CHANGE, .op = SL_CHANGE_UNLINK, .path = 1}, /* unlink */
	[11] = {.kind = CALL_EXEC, .path = 1}, /* execve */
	[14] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKNOD, .path = 1}, /* mknod */
	[15] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .path = 1}, /* chmod */
	[21] = {.kind = CALL_CHANGE,
		.op = SL_CHANGE_MOUNT,
		.path = 1,
		.path2 = 2,
		.flags = 4,
		.how = HOW_MOVES_PATHS}, /* mount */
	[22] = {.kind = CALL_MOUNT, .how = HOW_MOVES_PATHS}, /* umount */
	[38] = {.kind = CALL_CHANGE, .op = SL_CHANGE_RENAME, .path = 1, .path2 = 2, .how = HOW_MOVES_PATHS}, /* rename */
	[39] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKDIR, .path = 1}, /* mkdir */
	[40] = {.kind = CALL_CHANGE, .op = SL_CHANGE_RMDIR, .path = 1}, /* rmdir */
	[52] = {.kind = CALL_MOUNT, .how = HOW_MOVES_PATHS}, /* umount2 */
	[83] = {.kind = CALL_CHANGE, .op = SL_CHANGE_SYMLINK, .path = 1, .path2 = 2}, /* symlink */
	[92] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .path = 1}, /* truncate */
	[93] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .dir = 1}, /* ftruncate */
	[94] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1}, /* fchmod */
	[102] = {.kind = CALL_SOCKETCALL}, /* socketcall */
	[120] = {.kind = CALL_FORK}, /* clone */
	[145] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* readv */
	[180] = {.kind = CALL_READ, .dir = 1, .path = 2}, /* pread64 */
	[190] = {.kind = CALL_FORK}, /* vfork */
	[193] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .path = 1}, /* truncate64 */
	[194] = {.kind = CALL_CHANGE, .op = SL_CHANGE_TRUNCATE, .dir = 1}, /* ftruncate64 */
	[217] = {.kind = CALL_MOUNT, .how = HOW_MOVES_PATHS}, /* pivot_root */
	[295] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = 3}, /* openat */
	[296] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKDIR, .dir = 1, .path = 2}, /* mkdirat */
	[297] = {.kind = CALL_CHANGE, .op = SL_CHANGE_MKNOD, .dir = 1, .path = 2}, /* mknodat */
	[301] = {.kind = CALL_CHANGE, .op = SL_CHANGE_UNLINK, .dir = 1, .path = 2, .flags = 3}, /* unlinkat */
	[302] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_RENAME,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* renameat */
	[303] = {.kind = CALL_CHANGE, .op = SL_CHANGE_LINK, .dir = 1, .path = 2, .dir2 = 3, .path2 = 4}, /* linkat */
	[304] = {.kind = CALL_CHANGE, .op = SL_CHANGE_SYMLINK, .path = 1, .dir2 = 2, .path2 = 3}, /* symlinkat */
	[306] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1, .path = 2}, /* fchmodat */
	[333] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* preadv */
	[337] = {.kind = CALL_RECEIVE, .dir = 1}, /* recvmmsg */
	[342] = {.kind = CALL_OPEN, .dir = 1, .flags = 3}, /* open_by_handle_at */
	[345] = {.kind = CALL_SEND, .op = SEND_MMSG, .dir = 1, .path = 2}, /* sendmmsg */
	[353] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_RENAME,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* renameat2 */
	[358] = {.kind = CALL_EXEC, .dir = 1, .path = 2}, /* execveat */
	[359] = {.kind = CALL_SOCKET}, /* socket */
	[360] = {.kind = CALL_SOCKET, .op = SOCKET_PAIR}, /* socketpair */
	[361] = {.kind = CALL_BIND, .dir = 1, .path = 2, .flags = 3}, /* bind */
	[362] = {.kind = CALL_CONNECT, .dir = 1, .path = 2, .flags = 3}, /* connect */
	[363] = {.kind = CALL_LISTEN, .dir = 1}, /* listen */
	[364] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* accept4 */
	[369] = {.kind = CALL_SEND, .op = SEND_TO, .dir = 1, .path = 5, .flags = 6}, /* sendto */
	[370] = {.kind = CALL_SEND, .op = SEND_MSG, .dir = 1, .path = 2}, /* sendmsg */
	[371] = {.kind = CALL_READ, .dir = 1, .path = 2, .flags = 4}, /* recvfrom */
	[372] = {.kind = CALL_READ, .op = READ_MSG, .dir = 1, .path = 2, .flags = 3, .how = HOW_RECEIVES}, /* recvmsg */
	[378] = {.kind = CALL_READ, .op = READ_VECTOR, .dir = 1, .path = 2}, /* preadv2 */
	[417] = {.kind = CALL_RECEIVE, .dir = 1}, /* recvmmsg_time64 */
	[428] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = FLAGS_OF_OPEN_TREE}, /* open_tree */
	[429] = {.kind = CALL_CHANGE,
		 .op = SL_CHANGE_MOUNT,
		 .dir = 1,
		 .path = 2,
		 .dir2 = 3,
		 .path2 = 4,
		 .how = HOW_MOVES_PATHS}, /* move_mount */
	[435] = {.kind = CALL_FORK}, /* clone3 */
	[437] = {.kind = CALL_OPEN, .dir = 1, .path = 2, .flags = 3, .how = HOW_IN_STRUCT}, /* openat2 */
	[438] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* pidfd_getfd */
	[452] = {.kind = CALL_CHANGE, .op = SL_CHANGE_CHMOD, .dir = 1, .path = 2}, /* fchmodat2 */
};

#define SOCKETCALLS_MAX 32 /* numbers in the table, a power of two */

/* What socketcall(2) stands for, by its first argument (include/uapi/linux/net.h). */
const struct call_shape socketcalls[SOCKETCALLS_MAX] = {
	[1] = {.kind = CALL_SOCKET}, /* SYS_SOCKET */
	[2] = {.kind = CALL_BIND, .dir = 1, .path = 2, .flags = 3}, /* SYS_BIND */
	[3] = {.kind = CALL_CONNECT, .dir = 1, .path = 2, .flags = 3}, /* SYS_CONNECT */
	[4] = {.kind = CALL_LISTEN, .dir = 1}, /* SYS_LISTEN */
	[5] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* SYS_ACCEPT */
	[8] = {.kind = CALL_SOCKET, .op = SOCKET_PAIR}, /* SYS_SOCKETPAIR */
	[10] = {.kind = CALL_READ, .dir = 1, .path = 2, .flags = 4}, /* SYS_RECV */
	[11] = {.kind = CALL_SEND, .op = SEND_TO, .dir = 1, .path = 5, .flags = 6}, /* SYS_SENDTO */
	[12] = {.kind = CALL_READ, .dir = 1, .path = 2, .flags = 4}, /* SYS_RECVFROM */
	[16] = {.kind = CALL_SEND, .op = SEND_MSG, .dir = 1, .path = 2}, /* SYS_SENDMSG */
	[17] = {.kind = CALL_READ, .op = READ_MSG, .dir = 1, .path = 2, .flags = 3, .how = HOW_RECEIVES}, /* SYS_RECVMSG */
	[18] = {.kind = CALL_RECEIVE, .op = RECEIVE_RESULT}, /* SYS_ACCEPT4 */
	[19] = {.kind = CALL_RECEIVE, .dir = 1}, /* SYS_RECVMMSG */
	[20] = {.kind = CALL_SEND, .op = SEND_MMSG, .dir = 1, .path = 2}, /* SYS_SENDMMSG */
};

#endif
