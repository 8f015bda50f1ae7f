/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What io_uring keeps of a request, as vmlinux_min.h has the rest of the kernel: only the fields in use. What a request asks for
 * is laid out over its beginning by its opcode. Some of these are not in every kernel: whoever reads them asks first.
 */
#ifndef SLUICE_URING_TYPES_BPF_H
#define SLUICE_URING_TYPES_BPF_H

#include "vmlinux_min.h"

/* include/uapi/linux/io_uring.h */
enum {
	IORING_OP_SENDMSG = 9,
	IORING_OP_RECVMSG = 10,
	IORING_OP_ACCEPT = 13,
	IORING_OP_CONNECT = 16,
	IORING_OP_OPENAT = 18,
	IORING_OP_SEND = 26,
	IORING_OP_OPENAT2 = 28,
	IORING_OP_RENAMEAT = 35,
	IORING_OP_UNLINKAT = 36,
	IORING_OP_MKDIRAT = 37,
	IORING_OP_SYMLINKAT = 38,
	IORING_OP_LINKAT = 39,
	IORING_OP_SOCKET = 45,
	IORING_OP_SEND_ZC = 47,
	IORING_OP_SENDMSG_ZC = 48,
	IORING_OP_BIND = 56,
	IORING_OP_LISTEN = 57,
};

#define REQ_F_FIXED_FILE 1u /* IOSQE_FIXED_FILE */
#define REQ_F_CQE_SKIP 64u /* IOSQE_CQE_SKIP_SUCCESS: nothing says that it succeeded */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct io_cqe {
	__s32 res;
};

struct io_kiocb {
	struct file *file;
	__u8 opcode;
	__u32 flags; /* of more bits since 6.9; ours are the lowest */
	struct io_cqe cqe; /* since 5.19 */
	void *async_data;
};

struct filename {
	const char *name;
};

struct open_how {
	__u64 flags;
};

struct io_open {
	int dfd;
	struct filename *filename;
	struct open_how how;
};

struct io_unlink {
	int dfd;
	int flags;
	struct filename *filename;
};

struct io_mkdir {
	int dfd;
	struct filename *filename;
};

struct io_rename {
	int old_dfd;
	int new_dfd;
	struct filename *oldpath;
	struct filename *newpath;
};

/* Of symlinks too. */
struct io_link {
	int old_dfd;
	int new_dfd;
	struct filename *oldpath;
	struct filename *newpath;
};

struct io_connect {
	void *addr;
	int addr_len;
};

/* Before 6.10: where the address of a connect is copied to, if it is at all. */
struct io_async_connect {
	int unused;
};

struct user_msghdr {
	void *msg_name;
	int msg_namelen;
};

struct io_sr_msg {
	struct user_msghdr *umsg;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
};

struct __kernel_sockaddr_storage {
	__u16 ss_family;
};

struct io_async_msghdr {
	struct msghdr msg;
	struct __kernel_sockaddr_storage addr;
};

struct io_socket {
	int domain;
	int type;
	int protocol;
};

#pragma clang attribute pop

#endif
