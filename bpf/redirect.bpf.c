// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The way back from the gateway (redirect.bpf.h): a task of a sandbox is told the address that it sent to, not ours. The kernel lets these
 * hooks refuse nothing, and they change nothing for sockets that were not redirected.
 */
#include "redirect.bpf.h"

#define TELL 1

SEC("cgroup/recvmsg4")
int sl_recvmsg4(struct bpf_sock_addr *ctx)
{
	show_original(ctx, AF_INET);
	return TELL;
}

SEC("cgroup/recvmsg6")
int sl_recvmsg6(struct bpf_sock_addr *ctx)
{
	show_original(ctx, AF_INET6);
	return TELL;
}

SEC("cgroup/getpeername4")
int sl_getpeername4(struct bpf_sock_addr *ctx)
{
	show_original(ctx, AF_INET);
	return TELL;
}

SEC("cgroup/getpeername6")
int sl_getpeername6(struct bpf_sock_addr *ctx)
{
	show_original(ctx, AF_INET6);
	return TELL;
}
