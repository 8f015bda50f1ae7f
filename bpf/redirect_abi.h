/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Values of the BPF maps that say where a sandbox's queries for names go. User space writes them all, the kernel side only reads. Offsets
 * for TypeScript are generated, as of map_abi.h.
 */
#ifndef SLUICE_REDIRECT_ABI_H
#define SLUICE_REDIRECT_ABI_H

#define SL_REDIRECTS_MAX 32768u /* entries of sl_redirects */
#define SL_GATEWAY_PORTS_MAX 65536u /* entries of sl_gateway_ports: two a sandbox and network namespace */
#define SL_DOORS_WANTED_MAX 256u /* entries of sl_doors_wanted */

/* Loopback is each network namespace's own. `netns` is the kernel's cookie of one; 0: the sandbox as such. */
struct sl_redirect_key {
	__u64 sandbox;
	__u64 netns;
};

enum sl_redirect_flag {
	SL_REDIRECT_OBSERVES = 1u << 0, /* where the gateway is not there it goes where it was to go, and policy judges it */
};

/*
 * sl_redirects: hash, key struct sl_redirect_key. A sandbox with an entry for namespace 0, which has the flags and no ports, is
 * redirected: what a task of it connects or sends to port 53, by UDP or TCP, goes to the ports of loopback that the entry for the socket's
 * namespace has. Without that one, or while the gateway has not been heard of for too long, it is refused.
 */
struct sl_redirect {
	__u16 port4; /* of 127.0.0.1, host order; 0 = nobody is there: refused */
	__u16 port6; /* of ::1 */
	__u32 flags; /* enum sl_redirect_flag */
};

/*
 * sl_gateway_ports: hash, key struct sl_gateway_port, value __u64 sandbox. Ports of loopback that no task of any sandbox reaches by itself.
 * Written before sl_redirects.
 */
struct sl_gateway_port {
	__u64 netns;
	__u32 port;
	__u32 pad;
};

/*
 * sl_doors_wanted: hash, key struct sl_redirect_key. A redirected sandbox runs a program, or asked for a name, in a network namespace where
 * nobody listens for it. Written by the kernel side while there is room; user space takes it out.
 */
struct sl_door_wanted {
	__u32 tid; /* of a thread that was in the namespace */
	__u32 pad;
};

/* sl_gateway: array of one. */
struct sl_gateway {
	__u64 alive_ns; /* CLOCK_BOOTTIME when it was heard of */
	__u32 redirecting; /* 0 = sl_redirects is empty, and no hook looks further */
	__u32 pad;
};

_Static_assert(sizeof(struct sl_redirect_key) == 16, "sl_redirect_key");
_Static_assert(sizeof(struct sl_redirect) == 8, "sl_redirect");
_Static_assert(sizeof(struct sl_gateway_port) == 16, "sl_gateway_port");
_Static_assert(sizeof(struct sl_door_wanted) == 8, "sl_door_wanted");
_Static_assert(sizeof(struct sl_gateway) == 16, "sl_gateway");

#endif
