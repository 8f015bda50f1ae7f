// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What tasks of ours have io_uring do, which comes by no system call: opens, changes of the file tree, connects, sends that name their
 * destination, sockets made, bound and listened on. An object of its own, which shares the core object's maps, so that a kernel
 * without these tracepoints loses nothing else.
 *
 * A record is made when a request is taken from the ring, from the kernel's own copies of paths and (since 6.10) addresses: the caller
 * can change what they were copied from at any time. Whose it is: the task that takes it, also where that is a polling thread, which
 * is a thread of the process that made the ring. The record is kept until the request ends, and then told with its result. A request
 * whose end nothing tells of is told with EINPROGRESS: at once if the caller wants no word of success, if there is no room to keep
 * it, or before 5.19; else when its request is used again, or by the sweep.
 */
#define sl_call_scratch sl_uring_call_scratch /* not the core object's, whose program this one can interrupt */
#include "identity.bpf.h"
#include "lent.bpf.h"
#include "uring_record.bpf.h"
#include "verdict.bpf.h"

#define EINPROGRESS 115

#define KEPT_SHORT 1024 /* bytes of a record that most fit in */
#define KEPT_LONG (CALL_FIXED_MAX + CALL_STRINGS_MAX * SL_PATH_MAX)
#define KEPT_SHORT_MAX 16384
#define KEPT_LONG_MAX 64
#define SWEPT_AFTER_NS 1000000000ull

/* A record that waits for its result. */
struct kept {
	__u64 since_ns;
	__u32 taken; /* 1 = somebody is telling it */
	__u32 size;
};

struct kept_short {
	struct kept kept;
	__u8 bytes[KEPT_SHORT];
};

struct kept_long {
	struct kept kept;
	__u8 bytes[KEPT_LONG];
};

/* Key: the address of the kernel's request. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KEPT_SHORT_MAX);
	__type(key, __u64);
	__type(value, struct kept_short);
} sl_uring_short SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KEPT_LONG_MAX);
	__type(key, __u64);
	__type(value, struct kept_long);
} sl_uring_long SEC(".maps");

struct uring_scratch {
	struct kept kept; /* the bytes of `call` follow */
	struct call_scratch call;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct uring_scratch);
} sl_uring_scratch SEC(".maps");

_Static_assert(__builtin_offsetof(struct uring_scratch, call.bytes) == __builtin_offsetof(struct kept_long, bytes), "kept_long");
_Static_assert(__builtin_offsetof(struct uring_scratch, call.bytes) == __builtin_offsetof(struct kept_short, bytes),
	       "kept_short");

static __always_inline void set_result(__u8 *bytes, __u32 kind, __u32 error)
{
	if (kind == SL_KIND_FILE_OPEN)
		((struct sl_file_open *)bytes)->error = error;
	else if (kind == SL_KIND_FILE_CHANGE)
		((struct sl_file_change *)bytes)->error = error;
	else
		((struct sl_connect *)bytes)->error = error;
}

/* Sends the record, of at most `room` bytes. */
static __always_inline void tell(__u8 *bytes, __u32 size, __u32 room, __u32 error)
{
	struct sl_event_hdr *hdr = (struct sl_event_hdr *)bytes;
	struct sl_counters *count = counters();
	struct sl_share *share;
	__u32 kind = hdr->kind;
	bool may;

	barrier_var(kind);
	barrier_var(size);
	if (!count || kind >= SL_KINDS_MAX || size > room)
		return;
	set_result(bytes, kind, error);
	hdr->cpu = bpf_get_smp_processor_id();
	hdr->cpu_seq = count_attempt(count, kind);
	hdr->time_ns = bpf_ktime_get_boot_ns();
	if (kind == SL_KIND_CONNECT || kind == SL_KIND_LISTEN || kind == SL_KIND_SOCKET)
		((struct sl_connect *)bytes)->last_ns = hdr->time_ns;
	share = share_of(hdr->sandbox);
	may = has_room(share, SL_RING_BULK);
	/* Once more: between the calls it was kept where the verifier of 6.1 forgets what it was. */
	barrier_var(size);
	if (size > room)
		size = room;
	if (may && !bpf_ringbuf_output(&sl_ring_bulk, bytes, size, 0))
		count_told(share, kind, SL_RING_BULK, size);
	else
		count_dropped(share, kind);
}

/* What is known of the socket once the request has ended. False: this is not to be told. */
static __always_inline bool finish_socket(struct sl_connect *rec, struct io_kiocb *req, __u32 error)
{
	struct file *file = BPF_CORE_READ(req, file);
	struct socket *socket = NULL;
	__u8 opcode = BPF_CORE_READ(req, opcode);
	struct sock *sk;

	if (is_no_socket(error))
		return false;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFSOCK)
		socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return true;
	fill_socket(rec, sk);
	if (rec->hdr.kind == SL_KIND_CONNECT && is_inet(rec->family))
		judge_afterwards(rec, rec->hdr.sandbox);
	if (rec->hdr.kind == SL_KIND_CONNECT)
		return opcode == IORING_OP_CONNECT || rec->type != SOCK_STREAM;
	if (opcode == IORING_OP_BIND && !error && is_silent_bind(rec))
		return false;
	if (is_inet(rec->family) && !(opcode == IORING_OP_BIND && error)) {
		put_local_address(rec->addr, sk);
		rec->port = rec->local_port;
		rec->flags = SL_CONNECT_KERNEL_ADDR;
	}
	return true;
}

static __always_inline bool take(struct kept *kept)
{
	return !__sync_fetch_and_or(&kept->taken, 1);
}

/* Tells what is kept of a request: with the result of `req`, or NULL for one whose end nobody told. */
static __always_inline void end_kept(struct kept *kept, __u8 *bytes, __u32 room, struct io_kiocb *req)
{
	struct sl_connect *rec = (struct sl_connect *)bytes;
	__u32 error = EINPROGRESS;
	__u16 kind = rec->hdr.kind;
	int res;

	if (!take(kept))
		return;
	if (req) {
		res = BPF_CORE_READ(req, cqe.res);
		error = res < 0 ? -res : 0;
		if ((kind == SL_KIND_CONNECT || kind == SL_KIND_LISTEN) && !finish_socket(rec, req, error))
			return;
	}
	tell(bytes, kept->size, room, error);
}

static __noinline int end_request(__u64 key, struct io_kiocb *req)
{
	struct kept_short *brief = bpf_map_lookup_elem(&sl_uring_short, &key);
	struct kept_long *at_length;

	if (brief) {
		end_kept(&brief->kept, brief->bytes, sizeof(brief->bytes), req);
		bpf_map_delete_elem(&sl_uring_short, &key);
		return 0;
	}
	at_length = bpf_map_lookup_elem(&sl_uring_long, &key);
	if (!at_length)
		return 0;
	end_kept(&at_length->kept, at_length->bytes, sizeof(at_length->bytes), req);
	bpf_map_delete_elem(&sl_uring_long, &key);
	return 0;
}

static __always_inline bool keep(struct uring_scratch *scratch, __u64 key)
{
	if (scratch->kept.size <= KEPT_SHORT)
		return !bpf_map_update_elem(&sl_uring_short, &key, scratch, BPF_ANY);
	return !bpf_map_update_elem(&sl_uring_long, &key, scratch, BPF_ANY);
}

static __always_inline int submitted(struct io_kiocb *req)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_task *entry = task_of_sandbox(task);
	__u64 key = (__u64)req;
	struct uring_scratch *scratch;
	__u32 kind, zero = 0;
	__u8 opcode;

	if (!entry)
		return 0;
	end_request(key, NULL);
	opcode = BPF_CORE_READ(req, opcode);
	kind = kind_of(opcode);
	scratch = bpf_map_lookup_elem(&sl_uring_scratch, &zero);
	if (!kind || !scratch)
		return 0;
	scratch->kept.size = build(&scratch->call, req, opcode, kind);
	if (!scratch->kept.size)
		return 0;
	if (kind == SL_KIND_SOCKET && judge_made((struct sl_connect *)scratch->call.bytes, entry->sandbox))
		bpf_send_signal(SIGKILL);
	fill_header((struct sl_event_hdr *)scratch->call.bytes, task, entry, kind, 0, scratch->kept.size);
	scratch->kept.taken = 0;
	scratch->kept.since_ns = bpf_ktime_get_boot_ns();
	if (!bpf_core_field_exists(struct io_kiocb, cqe) || BPF_CORE_READ(req, flags) & REQ_F_CQE_SKIP || !keep(scratch, key))
		tell(scratch->call.bytes, scratch->kept.size, sizeof(scratch->call.bytes), EINPROGRESS);
	return 0;
}

SEC("tp_btf/io_uring_submit_req")
int sl_uring_submit(__u64 *ctx)
{
	return submitted((struct io_kiocb *)ctx[0]);
}

/* Before 6.4. Until 5.19 the request comes after its ring; later a truth value does. */
SEC("tp_btf/io_uring_submit_sqe")
int sl_uring_submit_sqe(__u64 *ctx)
{
	return submitted((struct io_kiocb *)(ctx[1] > 1 ? ctx[1] : ctx[0]));
}

/* By a request that has ended, or one of many results of it (then there is none), a socket can have come in from another process. */
static __always_inline void receive(struct io_kiocb *req)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sl_task *entry = task_of_sandbox(task);
	__u8 opcode = req ? BPF_CORE_READ(req, opcode) : IORING_OP_RECVMSG;
	int is_forbidden = 0;

	if (!entry || !is_policed(entry->sandbox))
		return;
	if (opcode == IORING_OP_RECVMSG)
		is_forbidden = note_sockets(task, entry->sandbox, LENT_BY_URING);
	else if (opcode == IORING_OP_ACCEPT && BPF_CORE_READ(req, cqe.res) >= 0)
		is_forbidden = note_descriptor_of_current(BPF_CORE_READ(req, cqe.res), entry->sandbox, LENT_BY_URING);
	if (is_forbidden)
		bpf_send_signal(SIGKILL);
}

/* Before 5.19 it says what the caller calls the request, and not which it is; nothing is kept there. */
SEC("tp_btf/io_uring_complete")
int sl_uring_complete(__u64 *ctx)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe))
		return 0;
	if (ctx[1])
		end_request(ctx[1], (struct io_kiocb *)ctx[1]);
	receive((struct io_kiocb *)ctx[1]);
	return 0;
}

struct sweep {
	__u64 now_ns;
	__u64 after_ns;
};

static long sweep_short(void *map, const void *key, struct kept_short *brief, struct sweep *sweep)
{
	if (sweep->now_ns - brief->kept.since_ns < sweep->after_ns)
		return 0;
	end_kept(&brief->kept, brief->bytes, sizeof(brief->bytes), NULL);
	bpf_map_delete_elem(&sl_uring_short, key);
	return 0;
}

static long sweep_long(void *map, const void *key, struct kept_long *at_length, struct sweep *sweep)
{
	if (sweep->now_ns - at_length->kept.since_ns < sweep->after_ns)
		return 0;
	end_kept(&at_length->kept, at_length->bytes, sizeof(at_length->bytes), NULL);
	bpf_map_delete_elem(&sl_uring_long, key);
	return 0;
}

/* Iterators are what user space can call: the first task stands for all. */
static __always_inline int sweep_kept(struct bpf_iter__task *ctx, __u64 after_ns)
{
	struct sweep sweep = {.now_ns = bpf_ktime_get_boot_ns(), .after_ns = after_ns};

	if (ctx->meta->seq_num || !ctx->task)
		return 0;
	bpf_for_each_map_elem(&sl_uring_short, sweep_short, &sweep, 0);
	bpf_for_each_map_elem(&sl_uring_long, sweep_long, &sweep, 0);
	return 0;
}

/* Tells of requests that have not ended for a while, or that nothing told the end of. */
SEC("iter/task")
int sl_uring_sweep(struct bpf_iter__task *ctx)
{
	return sweep_kept(ctx, SWEPT_AFTER_NS);
}

/* The same of all requests, before user space reads the rings to their end. */
SEC("iter/task")
int sl_uring_sweep_all(struct bpf_iter__task *ctx)
{
	return sweep_kept(ctx, 0);
}

/* The helpers in use need a GPL-compatible licence. */
char _license[] SEC("license") = "Dual BSD/GPL";
