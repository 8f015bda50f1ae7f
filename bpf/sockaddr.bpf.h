/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a socket is, and addresses on the way into a record: of the socket itself, which nobody can forge, or from the caller's memory
 * after the call, where another thread can have changed them (SL_CONNECT_KERNEL_ADDR tells which).
 */
#ifndef SLUICE_SOCKADDR_BPF_H
#define SLUICE_SOCKADDR_BPF_H

#include "call_record.bpf.h"
#include <bpf/bpf_endian.h>

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_ALG 38
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_SEQPACKET 5
#define SOCK_PACKET 10
#define SOCK_TYPE_MASK 0xf

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_FIN_WAIT1 = 4,
	TCP_CLOSE = 7,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
};

#define EPERM 1
#define EBADF 9
#define ENOTSOCK 88

#define SOCKADDR_IN_MIN 16 /* sizes below which the kernel takes no address */
#define SOCKADDR_IN6_MIN 24

/* The socket behind a descriptor; NULL if it is none, or none any more. */
static __always_inline struct sock *sock_of_fd(struct task_struct *task, __u32 fd)
{
	struct file *file = file_of_fd(task, fd);
	struct socket *socket;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

/* A call on a descriptor that leads nowhere concerns no other end. */
static __always_inline bool is_no_socket(__u32 error)
{
	return error == EBADF || error == ENOTSOCK;
}

static __always_inline bool is_inet(__u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

/* What family a socket is made of where this one and this type are asked for: __sock_create() of net/socket.c has an exception. */
static __always_inline __u16 made_family(__u32 family, __u32 type)
{
	return family == AF_INET && type == SOCK_PACKET ? AF_PACKET : family;
}

/* A bind that reaches nobody, or that a listen will tell of. */
static __always_inline bool is_silent_bind(const struct sl_connect *rec)
{
	if (rec->family == AF_NETLINK || rec->family == AF_ALG)
		return true;
	return (rec->type == SOCK_STREAM || rec->type == SOCK_SEQPACKET) && (is_inet(rec->family) || rec->family == AF_UNIX);
}

static __always_inline void fill_socket(struct sl_connect *rec, struct sock *sk)
{
	rec->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	rec->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	rec->type = BPF_CORE_READ(sk, sk_type);
	rec->protocol = BPF_CORE_READ(sk, sk_protocol);
	if (is_inet(rec->family))
		rec->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
}

/* `addr` in network order. */
static __always_inline void put_ip4(__u8 *to, __u32 addr)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(&to[12], &addr, 4);
}

static __always_inline void put_local_address(__u8 *to, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		bpf_core_read(to, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	else
		put_ip4(to, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
}

static __always_inline void put_remote_address(__u8 *to, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		bpf_core_read(to, 16, &sk->__sk_common.skc_v6_daddr);
	else
		put_ip4(to, BPF_CORE_READ(sk, __sk_common.skc_daddr));
}

/* An address in the caller's memory. */
struct user_address {
	__u64 at;
	__u32 len;
	__u16 family;
	__u16 port; /* network order; of IPv4 and IPv6 */
	bool is_relative; /* a path that starts from the current directory */
};

/* Looks at the address. False: there is none, or not all that its family needs. */
static __always_inline bool look_at_address(struct user_address *user)
{
	struct {
		__u16 family;
		__u16 port; /* or the first two bytes of a path */
	} head = {};

	if (!user->at || user->len < sizeof(head.family) ||
	    bpf_probe_read_user(&head, user->len < sizeof(head) ? sizeof(head.family) : sizeof(head), (void *)user->at))
		return false;
	user->family = head.family;
	user->port = head.port;
	user->is_relative = head.family == AF_UNIX && (head.port & 0xff) && (head.port & 0xff) != '/';
	if (head.family == AF_INET)
		return user->len >= SOCKADDR_IN_MIN;
	if (head.family == AF_INET6)
		return user->len >= SOCKADDR_IN6_MIN;
	return true;
}

/* An IPv4 or IPv6 address of the caller's into a record. */
static __always_inline void fill_user_inet(struct sl_connect *rec, const struct user_address *user, __u16 family)
{
	__u32 ip4 = 0;

	rec->port = bpf_ntohs(user->port);
	if (family == AF_INET6) {
		bpf_probe_read_user(rec->addr, sizeof(rec->addr), (void *)user->at + 8);
		return;
	}
	bpf_probe_read_user(&ip4, sizeof(ip4), (void *)user->at + 4);
	put_ip4(rec->addr, ip4);
}

/* Any other address; `to` has room for SL_SOCKADDR_MAX bytes. Returns how many were taken. */
static __always_inline __u32 copy_user_sockaddr(__u8 *to, const struct user_address *user)
{
	__u32 len = user->len;

	barrier_var(len);
	if (len > SL_SOCKADDR_MAX)
		len = SL_SOCKADDR_MAX;
	return bpf_probe_read_user(to, len, (void *)user->at) ? 0 : len;
}

/* Appends the caller's address to a record that is built in the scratch buffer; returns where the next string goes. */
static __always_inline __u32 append_user_address(struct call_scratch *scratch, __u32 at, const struct user_address *user)
{
	struct sl_connect *rec = (struct sl_connect *)scratch->bytes;

	if (is_inet(user->family)) {
		fill_user_inet(rec, user, user->family);
		return at;
	}
	if (user->is_relative) {
		walk_base(scratch, bpf_get_current_task_btf(), AT_FDCWD);
		rec->base_flags = scratch->walk.flags;
		rec->base_len = append_walk(scratch, at);
		at += rec->base_len;
	}
	barrier_var(at);
	if (at > sizeof(scratch->bytes) - SL_SOCKADDR_MAX)
		return 0;
	rec->sockaddr_len = copy_user_sockaddr(&scratch->bytes[at], user);
	return at + rec->sockaddr_len;
}

/* Appends the name that a Unix socket is bound to, if it is: its file's path, or the abstract name. */
static __always_inline __u32 append_unix_name(struct call_scratch *scratch, __u32 at, struct unix_sock *sk)
{
	struct sl_connect *rec = (struct sl_connect *)scratch->bytes;
	struct unix_address *address = BPF_CORE_READ(sk, addr);
	__u32 len = BPF_CORE_READ(address, len);

	if (!address)
		return at;
	rec->flags |= SL_CONNECT_KERNEL_ADDR;
	if (BPF_CORE_READ(sk, path.dentry)) {
		PATH_RESOLVE(&scratch->walk, sk, path);
		rec->base_flags = scratch->walk.flags;
		rec->base_len = append_walk(scratch, at);
		return at + rec->base_len;
	}
	barrier_var(len);
	barrier_var(at);
	if (len > SL_SOCKADDR_MAX || at > sizeof(scratch->bytes) - SL_SOCKADDR_MAX)
		return at;
	bpf_probe_read_kernel(&scratch->bytes[at], len, (void *)address + bpf_core_field_offset(struct unix_address, name));
	rec->sockaddr_len = len;
	return at + len;
}

#endif
