/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every map of the core object. What user space reads or writes of them is in map_abi.h, the rest is here. */
#ifndef SLUICE_MAPS_BPF_H
#define SLUICE_MAPS_BPF_H

#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include "event_abi.h"
#include "map_abi.h"

#define SL_SEND_SLOTS 4u

/* A destination of a thread's sends or refused connects, as the record that tells of it, and how many were made since it was told. */
struct sl_send_slot {
	struct sl_connect rec;
	__u8 sockaddr[SL_SOCKADDR_MAX]; /* as rec.data */
	__u64 sock; /* the kernel's socket: tells sockets without a cookie apart */
	__u64 first_ns; /* of the sends not told yet */
	__u64 untold;
	__u64 second_ns; /* of refusals: since when `told` are counted */
	__u64 told;
};

/* sl_sends: hash, key as sl_connects. Made at a thread's first send or refused connect, told and removed at its end. */
struct sl_sends {
	struct sl_send_slot slots[SL_SEND_SLOTS];
	struct sl_send_slot now; /* the send that is being looked at */
	__u64 next; /* slot that is given up for a new destination */
	__u32 busy; /* the slots are in use, by the thread or by the sweep; nobody waits for it */
	__u32 ended; /* the thread is over: who has the slots then removes all of it */
};

/* sl_connections: storage of a TCP socket, whose connection it is. A listener's is copied to what it accepts. */
struct sl_connection {
	struct sl_event_hdr hdr;
	__u64 since_ns; /* 0 = not established, or not seen to be */
	__u8 addr[16];
	__u16 port;
	__u16 local_port;
	__u16 established;
	__u16 incoming;
};

/* Who is ours. Storage goes with the task, so it can't leak, fill up or be confused by a reused pid. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sl_task);
} sl_tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SL_SANDBOXES_MAX);
	__type(key, __u64);
	__type(value, struct sl_sandbox);
} sl_sandboxes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SL_WATCHED_MAX);
	__type(key, __u64);
	__type(value, struct sl_watch);
} sl_watched_cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_state);
} sl_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_THREADS_MAX);
	__type(key, __u64);
	__type(value, struct sl_pending_connect);
} sl_connects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_THREADS_MAX);
	__type(key, __u64);
	__type(value, struct sl_sends);
} sl_sends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sl_connection);
} sl_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_counters);
} sl_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_RINGS);
	__type(key, __u32);
	__type(value, struct sl_ring_size);
} sl_ring_sizes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SL_SHARES_MAX);
	__type(key, __u64);
	__type(value, struct sl_share);
} sl_shares SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_control);
} sl_control SEC(".maps");

/* Process lifecycle: small and read first, so that a storm of opens can't crowd out who did them. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} sl_ring_priority SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} sl_ring_bulk SEC(".maps");

#endif
