/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a request that io_uring has just taken to a record of what it asks for, but for its header and its result. Paths are the
 * kernel's own copies, and so are addresses where it has made any by then; what is done with the record is uring.bpf.c's.
 */
#ifndef SLUICE_URING_RECORD_BPF_H
#define SLUICE_URING_RECORD_BPF_H

#include "sockaddr.bpf.h"
#include "uring_types.bpf.h"

/* A request, as its opcode lays it out. */
#define AS(type, req) ((struct type *)(req))

/* Appends a path that the kernel has copied. */
static __noinline int append_name(struct call_scratch *scratch, __u32 at, struct filename *name)
{
	struct sl_counters *count = counters();
	long read;

	barrier_var(at);
	if (at > sizeof(scratch->bytes) - SL_PATH_MAX)
		return 0;
	read = bpf_probe_read_kernel_str(&scratch->bytes[at], SL_PATH_MAX, BPF_CORE_READ(name, name));
	if (read > 0)
		return read - 1;
	if (count)
		count_read_failure(count);
	return 0;
}

/* As append_place, of a path that the kernel has copied. */
static __noinline int append_named_place(struct call_scratch *scratch, __u32 at, int dirfd, struct filename *name,
					 struct place *ret_place)
{
	const char *path = BPF_CORE_READ(name, name);
	char first = 0;

	ret_place->base_len = 0;
	ret_place->base_flags = 0;
	bpf_probe_read_kernel(&first, sizeof(first), path);
	if (first != '/') {
		walk_base(scratch, bpf_get_current_task_btf(), dirfd);
		ret_place->base_flags = scratch->walk.flags;
		ret_place->base_len = append_walk(scratch, at);
		at += ret_place->base_len;
	}
	ret_place->path_len = append_name(scratch, at, name);
	return at + ret_place->path_len;
}

/* The builders: each puts a record together but for its header, and returns its size; 0 = there is nothing to tell. */

static __always_inline __u32 build_open(struct call_scratch *scratch, struct io_kiocb *req)
{
	struct sl_file_open *rec = (struct sl_file_open *)scratch->bytes;
	struct io_open *open = AS(io_open, req);
	struct place place = {};
	__u32 end;

	__builtin_memset(rec, 0, sizeof(*rec));
	end = append_named_place(scratch, sizeof(*rec), BPF_CORE_READ(open, dfd), BPF_CORE_READ(open, filename), &place);
	rec->flags = BPF_CORE_READ(open, how.flags);
	rec->path_len = place.base_len;
	rec->path_flags = place.base_flags | SL_PATH_UNRESOLVED;
	rec->user_path_len = place.path_len;
	return end;
}

struct change {
	struct filename *from;
	struct filename *to;
	int from_dirfd;
	int to_dirfd;
	__u16 op;
};

static __always_inline bool read_change(struct change *change, struct io_kiocb *req, __u8 opcode)
{
	struct io_rename *rename = AS(io_rename, req);
	struct io_unlink *unlink = AS(io_unlink, req);
	struct io_mkdir *mkdir = AS(io_mkdir, req);
	struct io_link *link = AS(io_link, req);

	switch (opcode) {
	case IORING_OP_UNLINKAT:
		change->from = BPF_CORE_READ(unlink, filename);
		change->from_dirfd = BPF_CORE_READ(unlink, dfd);
		change->op = BPF_CORE_READ(unlink, flags) & AT_REMOVEDIR ? SL_CHANGE_RMDIR : SL_CHANGE_UNLINK;
		return true;
	case IORING_OP_MKDIRAT:
		change->from = BPF_CORE_READ(mkdir, filename);
		change->from_dirfd = BPF_CORE_READ(mkdir, dfd);
		change->op = SL_CHANGE_MKDIR;
		return true;
	case IORING_OP_RENAMEAT:
		change->from = BPF_CORE_READ(rename, oldpath);
		change->from_dirfd = BPF_CORE_READ(rename, old_dfd);
		change->to = BPF_CORE_READ(rename, newpath);
		change->to_dirfd = BPF_CORE_READ(rename, new_dfd);
		change->op = SL_CHANGE_RENAME;
		return true;
	case IORING_OP_LINKAT:
	case IORING_OP_SYMLINKAT:
		change->from = BPF_CORE_READ(link, oldpath);
		change->from_dirfd = BPF_CORE_READ(link, old_dfd);
		change->to = BPF_CORE_READ(link, newpath);
		change->to_dirfd = BPF_CORE_READ(link, new_dfd);
		change->op = opcode == IORING_OP_LINKAT ? SL_CHANGE_LINK : SL_CHANGE_SYMLINK;
		return true;
	}
	return false;
}

static __always_inline __u32 build_change(struct call_scratch *scratch, struct io_kiocb *req, __u8 opcode)
{
	struct sl_file_change *rec = (struct sl_file_change *)scratch->bytes;
	struct place from = {}, to = {};
	struct change change = {};
	__u32 end;

	if (!read_change(&change, req, opcode))
		return 0;
	__builtin_memset(rec, 0, sizeof(*rec));
	if (change.op == SL_CHANGE_SYMLINK) { /* its target is text, not a place */
		from.path_len = append_name(scratch, sizeof(*rec), change.from);
		end = sizeof(*rec) + from.path_len;
	} else {
		end = append_named_place(scratch, sizeof(*rec), change.from_dirfd, change.from, &from);
	}
	if (change.to)
		end = append_named_place(scratch, end, change.to_dirfd, change.to, &to);
	rec->op = change.op;
	put_places(rec, &from, &to);
	return end;
}

/* Where a request's address is. */
struct uring_address {
	__u64 at;
	__u32 len;
	bool is_kernels; /* a copy that the caller can't change */
};

/* Whether the kernel has, at `at`, what the caller's memory has now. */
static __always_inline bool is_copy(__u64 at, const struct uring_address *address)
{
	__u64 copy[3] = {}, callers[3] = {};
	__u32 len = address->len;

	barrier_var(len);
	if (len > sizeof(copy))
		len = sizeof(copy);
	if (bpf_probe_read_kernel(copy, len, (void *)at) || bpf_probe_read_user(callers, len, (void *)address->at))
		return false;
	return copy[0] == callers[0] && copy[1] == callers[1] && copy[2] == callers[2];
}

/*
 * A connect's. The kernel copies it before we are called, since 6.10 behind the message of a send and since some of 2026's releases by
 * itself; nothing tells which, but that it is the same as the caller's.
 */
static __always_inline void find_connect_address(struct uring_address *address, struct io_kiocb *req)
{
	__u64 async = (__u64)BPF_CORE_READ(req, async_data), behind;

	address->at = (__u64)BPF_CORE_READ(AS(io_connect, req), addr);
	address->len = BPF_CORE_READ(AS(io_connect, req), addr_len);
	if (bpf_core_type_exists(struct io_async_connect) || !async)
		return;
	behind = async + bpf_core_field_offset(struct io_async_msghdr, addr);
	if (is_copy(async, address))
		address->at = async;
	else if (is_copy(behind, address))
		address->at = behind;
	else
		return;
	address->is_kernels = true;
}

static __always_inline bool find_address(struct uring_address *address, struct io_kiocb *req, __u8 opcode)
{
	struct io_async_msghdr *async = BPF_CORE_READ(req, async_data);
	struct user_msghdr message = {};

	if (opcode == IORING_OP_CONNECT) {
		find_connect_address(address, req);
	} else if (!bpf_core_type_exists(struct io_async_connect)) {
		address->is_kernels = true;
		address->at = (__u64)BPF_CORE_READ(async, msg.msg_name);
		address->len = BPF_CORE_READ(async, msg.msg_namelen);
	} else if (opcode == IORING_OP_SENDMSG || opcode == IORING_OP_SENDMSG_ZC) {
		/* The caller's struct is the caller's layout, not the kernel's to move. */
		bpf_probe_read_user(&message, 12, BPF_CORE_READ(AS(io_sr_msg, req), umsg));
		address->at = (__u64)message.msg_name;
		address->len = message.msg_namelen;
	}
	return address->at && address->len >= sizeof(__u16);
}

static __always_inline long read_address(void *to, __u32 len, const struct uring_address *address, __u32 at)
{
	if (address->is_kernels)
		return bpf_probe_read_kernel(to, len, (void *)address->at + at);
	return bpf_probe_read_user(to, len, (void *)address->at + at);
}

#define LEN_MASK 127 /* all bits of SL_SOCKADDR_MAX */

/* Internet addresses go into the record, all others behind it; returns where the next string goes. */
static __always_inline __u32 append_address(struct call_scratch *scratch, struct sl_connect *rec,
					    const struct uring_address *address)
{
	__u32 at = sizeof(*rec), len = address->len, ip4 = 0;
	__u16 head[2] = {};

	if (read_address(head, len < sizeof(head) ? sizeof(head[0]) : sizeof(head), address, 0))
		return at;
	rec->family = head[0];
	if (is_inet(head[0])) {
		rec->port = bpf_ntohs(head[1]);
		if (head[0] == AF_INET6) {
			read_address(rec->addr, sizeof(rec->addr), address, 8);
		} else {
			read_address(&ip4, sizeof(ip4), address, 4);
			put_ip4(rec->addr, ip4);
		}
		return at;
	}
	if (head[0] == AF_UNIX && (head[1] & 0xff) && (head[1] & 0xff) != '/') {
		walk_base(scratch, bpf_get_current_task_btf(), AT_FDCWD);
		rec->base_flags = scratch->walk.flags;
		rec->base_len = append_walk(scratch, at);
		at += rec->base_len;
	}
	barrier_var(at);
	barrier_var(len);
	if (at > sizeof(scratch->bytes) - LEN_MASK)
		return 0;
	if (len > SL_SOCKADDR_MAX)
		len = SL_SOCKADDR_MAX;
	/* For the verifier before 6.2, which forgets a bound where the value it was tried on is kept on the stack. */
	asm volatile("%0 &= %1" : "+r"(len) : "i"(LEN_MASK));
	if (read_address(&scratch->bytes[at], len, address, 0))
		return at;
	rec->sockaddr_len = len;
	return at + len;
}

static __always_inline __u32 build_socket(struct call_scratch *scratch, struct io_kiocb *req, __u8 opcode, __u8 via)
{
	struct sl_connect *rec = (struct sl_connect *)scratch->bytes;
	struct uring_address address = {};
	__u32 end = sizeof(*rec);

	__builtin_memset(rec, 0, sizeof(*rec));
	rec->count = 1;
	rec->via = via;
	if (opcode == IORING_OP_LISTEN || opcode == IORING_OP_BIND) /* the socket's own, in the end */
		return end;
	if (opcode == IORING_OP_SOCKET) {
		if (!bpf_core_type_exists(struct io_socket))
			return 0;
		rec->type = BPF_CORE_READ(AS(io_socket, req), type) & SOCK_TYPE_MASK;
		rec->family = made_family(BPF_CORE_READ(AS(io_socket, req), domain), rec->type);
		rec->protocol = BPF_CORE_READ(AS(io_socket, req), protocol);
		return end;
	}
	if (!find_address(&address, req, opcode))
		return 0;
	end = append_address(scratch, rec, &address);
	rec->flags = address.is_kernels ? SL_CONNECT_KERNEL_ADDR : 0;
	return opcode == IORING_OP_CONNECT && rec->family == AF_UNSPEC ? 0 : end;
}

static __always_inline __u32 kind_of(__u8 opcode)
{
	switch (opcode) {
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2:
		return SL_KIND_FILE_OPEN;
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT:
	case IORING_OP_RENAMEAT:
	case IORING_OP_LINKAT:
	case IORING_OP_SYMLINKAT:
		return SL_KIND_FILE_CHANGE;
	case IORING_OP_CONNECT:
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG_ZC:
		return SL_KIND_CONNECT;
	case IORING_OP_BIND:
	case IORING_OP_LISTEN:
		return SL_KIND_LISTEN;
	case IORING_OP_SOCKET:
		return SL_KIND_SOCKET;
	}
	return 0;
}

static __always_inline __u32 build(struct call_scratch *scratch, struct io_kiocb *req, __u8 opcode, __u32 kind)
{
	switch (kind) {
	case SL_KIND_FILE_OPEN:
		return build_open(scratch, req);
	case SL_KIND_FILE_CHANGE:
		return build_change(scratch, req, opcode);
	case SL_KIND_LISTEN:
		return build_socket(scratch, req, opcode, 0);
	case SL_KIND_SOCKET:
		return build_socket(scratch, req, opcode, SL_VIA_SOCKET);
	}
	return build_socket(scratch, req, opcode, SL_VIA_URING);
}

#endif
