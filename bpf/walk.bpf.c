// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A walk over every task of the machine, for processes that were there before us: it gives a sandbox's id to the tasks of its cgroups,
 * takes it away again, or says who has it, threads included (a pidfd of one is not to be had before Linux 6.9). An object of its
 * own, which shares the core object's maps, so that a kernel without task iterators loses nothing else. A walk over the sockets that
 * a sandbox's tasks have open makes these the sandbox's. And a sweep over threads that counted repeated opens, or read a part of a line.
 *
 * One walk is not enough: a task that has no id yet can fork behind it. The caller walks until a walk changes nothing.
 */
#include "fold.bpf.h"
#include "input.bpf.h"
#include "place.bpf.h"
#include "program.bpf.h"
#include "send.bpf.h"
#include "unix.bpf.h"
#include "verdict.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sl_walk_request);
} sl_walk_request SEC(".maps");

/* Gives the id to a task of one of the sandbox's cgroups. A task that belongs to another sandbox stays there. */
static __always_inline bool give_id(struct task_struct *task, struct sl_walk_request *request, struct sl_walked *ret_walked)
{
	__u64 sandbox = request->sandbox;
	struct sl_sandbox *found = bpf_map_lookup_elem(&sl_sandboxes, &ret_walked->cgroup_id);
	struct sl_counters *count = counters();
	struct sl_task *entry;

	if (!found || found->id != sandbox || !count)
		return false;
	entry = storage_of(&sl_tasks, task);
	if (!entry) {
		__sync_fetch_and_add(&count->identity_failures, 1);
		ret_walked->flags |= SL_WALKED_FAILED;
		return true;
	}
	if (entry->sandbox && entry->sandbox != sandbox)
		return false;
	ret_walked->exec_count = entry->exec_count;
	if (!entry->sandbox) {
		if (!store_place((__u64)task, sandbox, BPF_CORE_READ(task, group_leader, start_boottime), entry->exec_count)) {
			__sync_fetch_and_add(&count->identity_failures, 1);
			ret_walked->flags |= SL_WALKED_FAILED;
		}
		entry->sandbox = sandbox;
		__sync_fetch_and_add(&request->changed, 1);
	}
	return true;
}

/* By its entry or, where that was never made, by its place alone. */
static __always_inline bool has_id(struct task_struct *task, struct sl_walk_request *request, struct sl_walked *ret_walked)
{
	struct sl_task *entry = bpf_task_storage_get(&sl_tasks, task, 0, 0);
	__u64 key = (__u64)task;
	struct sl_pending_connect *place = place_at(key);
	bool placed = is_place_of(place, task) && place->sandbox == request->sandbox;

	if (!placed && (!entry || entry->sandbox != request->sandbox))
		return false;
	if (entry)
		ret_walked->exec_count = entry->exec_count;
	if (request->mode == SL_WALK_UNTAG) {
		if (entry)
			entry->sandbox = 0;
		bpf_map_delete_elem(&sl_connects, &key);
		sends_end(task);
		__sync_fetch_and_add(&request->changed, 1);
	}
	return true;
}

static __always_inline void fill_walked(struct task_struct *task, struct sl_walked *ret_walked)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);

	ret_walked->start_time_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	ret_walked->pid = task->tgid;
	ret_walked->tid = task->pid;
	ret_walked->ppid = BPF_CORE_READ(parent, tgid);
	ret_walked->parent_start_ns = BPF_CORE_READ(parent, start_boottime);
	ret_walked->uid = BPF_CORE_READ(task, cred, euid.val);
	ret_walked->gid = BPF_CORE_READ(task, cred, egid.val);
	if (BPF_CORE_READ(task, signal, live.counter) <= 0)
		ret_walked->flags |= SL_WALKED_DEAD;
}

SEC("iter/task")
int sl_walk_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct sl_walked walked = {};
	struct sl_walk_request *request;
	__u32 zero = 0;
	bool concerned;

	request = bpf_map_lookup_elem(&sl_walk_request, &zero);
	if (!task || !request || !request->sandbox)
		return 0;
	walked.cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	if (request->mode == SL_WALK_TAG)
		concerned = give_id(task, request, &walked);
	else
		concerned = has_id(task, request, &walked);
	if (!concerned)
		return 0;
	fill_walked(task, &walked);
	bpf_seq_write(ctx->meta->seq, &walked, sizeof(walked));
	return 0;
}

/* By way of memory: the verifier keeps a socket apart from its address. */
static __always_inline __u64 address_of(struct sock *sk)
{
	struct sock *kept = sk;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &kept);
	return address;
}

/* What others find by its name: a listener, or what needs no listening. */
static __always_inline bool is_unix_receiver(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_type) == SOCK_DGRAM || BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN;
}

/*
 * For sandboxes that got their first policy: from here on packets of these sockets are judged, whoever sends them; and Unix sockets that
 * listen are their own.
 */
SEC("iter/task_file")
int sl_walk_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sl_socket *kept;
	struct socket *socket;
	struct sl_task *entry;
	struct sock *sk;
	__u32 fd;

	if (!task || !file)
		return 0;
	entry = bpf_task_storage_get(&sl_tasks, task, 0, 0);
	if (!entry || !entry->sandbox || !is_policed(entry->sandbox))
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (sk && BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX && is_unix_receiver(sk))
		remember_bound(entry->sandbox, address_of(sk));
	if (!sk || !is_inet(BPF_CORE_READ(sk, __sk_common.skc_family)) || bpf_sk_storage_get(&sl_sockets, sk, 0, 0))
		return 0;
	kept = bpf_sk_storage_get(&sl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept) {
		fd = ctx->fd;
		bpf_seq_write(ctx->meta->seq, &fd, sizeof(fd));
		return 0;
	}
	own_socket(kept, task, entry->sandbox, entry->exec_count);
	return 0;
}

/* In which it can still carry something, or comes about. */
static __always_inline bool is_under_way(struct sock *sk)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && state != TCP_CLOSE && state != TCP_LISTEN;
}

/* By the address of the other end: what a packet of it would be told. Loopback takes a hook to tell. */
static __always_inline bool is_denied(const struct sl_socket *kept, struct sock *sk)
{
	struct flow flow = {.to.sandbox = kept->owner.sandbox, .protocol = IPPROTO_TCP};
	struct policy_now policy;

	if (!policy_of(flow.to.sandbox, &policy))
		return false;
	put_remote_address(flow.to.addr, sk);
	if (is_loopback(flow.to.addr))
		return false;
	flow.port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	judge(&flow, &kept->program, &policy);
	return flow.verdict == SL_VERDICT_DENY;
}

static __always_inline void fill_connection(struct sl_walked_connection *ret_walked, struct task_struct *task, struct sock *sk)
{
	ret_walked->cookie = bpf_get_socket_cookie(sk);
	put_local_address(ret_walked->local_addr, sk);
	put_remote_address(ret_walked->addr, sk);
	ret_walked->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	ret_walked->port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	ret_walked->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	ret_walked->device = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	ret_walked->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	ret_walked->pid = task->tgid;
}

/* Connections that the policies of their sandboxes deny, of every sandbox. From here on the reset of each may leave. */
SEC("iter/task_file")
int sl_walk_denied(struct bpf_iter__task_file *ctx)
{
	struct sl_walked_connection walked = {};
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sl_socket *kept;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_inet(BPF_CORE_READ(sk, __sk_common.skc_family)) || !is_under_way(sk))
		return 0;
	kept = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (!kept || !is_denied(kept, sk))
		return 0;
	kept->is_reset = 1;
	fill_connection(&walked, task, sk);
	bpf_seq_write(ctx->meta->seq, &walked, sizeof(walked));
	return 0;
}

/*
 * What the process that walks has open itself, as programs: what stat(2) says of a file is not on every file system what an exec of it is
 * known by. Those that are none are left out.
 */
SEC("iter/task_file")
int sl_walk_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sl_walked_file walked = {};
	struct file *file = ctx->file;

	if (!task || !file || task->tgid != (int)(bpf_get_current_pid_tgid() >> 32))
		return 0;
	read_program(&walked.program, file);
	walked.fd = ctx->fd;
	if (walked.program.inode)
		bpf_seq_write(ctx->meta->seq, &walked, sizeof(walked));
	return 0;
}

/* Tells what threads counted or read in part and have been quiet since; run by user space, over all tasks of the host. */
SEC("iter/task")
int sl_fold_sweep(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	fold_tell_all(task, false);
	sends_sweep(task);
	input_tell_of(task);
	return 0;
}

/* Never called and never loaded: names the records for the object's type information, as in core.bpf.c. */
int sl_walk_record_types(struct sl_walked *walked, struct sl_walked_connection *connection, struct sl_walked_file *file)
{
	return 0;
}

/* The helpers in use need a GPL-compatible licence. */
char _license[] SEC("license") = "Dual BSD/GPL";
