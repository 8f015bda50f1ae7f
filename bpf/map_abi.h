/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Values of the BPF maps that user space reads or writes. The TypeScript side's offsets are generated from these structs
 * (native/abi-dump.c) and a test compares them with the BTF of the built object.
 */
#ifndef SLUICE_MAP_ABI_H
#define SLUICE_MAP_ABI_H

#define SL_SANDBOXES_MAX 16384u /* entries of sl_sandboxes: cgroups, those below a sandbox's root included */
#define SL_CGROUPS_BELOW_MAX 1024u /* cgroups of one sandbox below its root; one more quarantines it */
#define SL_WATCHED_MAX 4096u /* entries of sl_watched_cgroups */
#define SL_WATCH_NAME_MAX 32u /* bytes of a name that are compared at each end */
#define SL_THREADS_MAX 131072u /* entries of sl_connects and of sl_sends, taken as they are needed */
#define SL_KINDS_MAX 32u /* slots of counters, more than sl_kind ever uses */
#define SL_SHARES_MAX 4096u /* entries of sl_shares: sandboxes whose losses are counted one by one; made as they are needed */
#define SL_SHARE_OTHERS 0u /* key in sl_shares of all that have no entry of their own */
#define SL_SPANS 16u /* of a ring's positions, of which a share remembers how much it put there; twice as many as a ring has */
#define SL_SPANS_OF_RING 8u

enum sl_sandbox_flag {
	SL_SANDBOX_FOUND =
		1u << 0, /* made by the kernel side for a cgroup below a watched one; user space has not taken it over yet */
	SL_SANDBOX_QUARANTINED = 1u << 1, /* who belongs to it can no longer be told for sure: its egress is refused */
};

/*
 * sl_sandboxes: hash, key __u64 cgroup id. Every cgroup of every sandbox has an entry. The root's is written by user space, or by the
 * kernel side for one that it found; those of cgroups below come and go by the kernel side, with mkdir and rmdir, but for what was
 * there before the root's entry, which user space adds, parents first. A task that is moved to or born in one of these cgroups, or
 * execs there, without an id gets the sandbox's.
 *
 * User space takes a found sandbox over by writing its entry without SL_SANDBOX_FOUND. Until then the kernel side removes the entry
 * with the cgroup; from then on user space does. It refuses one by deleting the entry; ids that were given out stay in sl_tasks.
 */
struct sl_sandbox {
	__u64 id; /* of the sandbox: the cgroup id of its root; in the root's own entry the key again */
	__u32 flags; /* enum sl_sandbox_flag; of the root's entry only */
	__u32 cgroups; /* in the root's entry: how many cgroups below it have an entry that the kernel side made */
};

/*
 * sl_watched_cgroups: hash, key __u64 cgroup id. A cgroup that is made right below a watched one is a sandbox before anything can run
 * in it (depth 1), or is itself watched with one less (depth above 1). Told by SL_KIND_CGROUP, SL_CGROUP_MKDIR with SL_CGROUP_FOUND.
 * Below a sandbox nothing is watched: what is made there belongs to the sandbox. User space writes the first entry; cgroups that
 * are there already are its own business. The kernel side removes an entry with its cgroup. A full map is counted (watch_failures).
 *
 * Of the sandboxes that it finds so it holds those at once whose names the entry says: before anything can run there, nothing gets out
 * (SL_POLICY_HELD), until user space gives the sandbox its policy or says that it has none. Others are not touched.
 */
struct sl_watch {
	__u32 depth; /* 1 or more */
	__u8 holds; /* enum sl_watch_hold */
	__u8 head_len; /* below SL_WATCH_NAME_MAX */
	__u8 tail_len; /* the same */
	__u8 pad;
	__u8 head[SL_WATCH_NAME_MAX]; /* what the name begins with; zero behind it */
	__u8 tail[SL_WATCH_NAME_MAX]; /* what it ends with */
};

enum sl_watch_hold {
	SL_WATCH_HOLDS_NONE = 0,
	SL_WATCH_HOLDS_LIKE = 1, /* names with this head and tail, and whatever in between */
	SL_WATCH_HOLDS_ONE = 2, /* the name that is head and tail */
};

/*
 * sl_state: array of one. While `quarantined` is 0 nobody's egress is looked at. The kernel side sets first SL_SANDBOX_QUARANTINED in
 * the sandbox's entry, then this. To lift a quarantine user space writes the entry without the flag, writes 0 here, then goes
 * through all entries and writes 1 again if one still has the flag.
 */
struct sl_state {
	__u32 quarantined; /* 1 = at least one sandbox is */
	__u32 pad;
};

enum sl_stop {
	SL_STOP_NONE = 0,
	SL_STOP_FROZEN = 1, /* whoever asked is stopped for it, and soon frozen */
	SL_STOP_TURN = 2, /* until its turn: the kernel makes the call again then */
};

enum sl_connect_state {
	SL_CONNECT_NONE = 0,
	SL_CONNECT_PENDING = 1, /* the cgroup hook saw it, its result is not known yet */
	SL_CONNECT_INTERRUPTED = 2, /* told as EINTR; the kernel may make the call again by itself */
	SL_CONNECT_UNIX = 3, /* to a Unix socket: the hook's verdict is kept, the address is not */
};

/*
 * A program: which file was executed, as it was then. Of a file that was changed since, or put in its place, something here differs. All
 * zero: not known, which no rule names.
 */
struct sl_program {
	__u64 inode; /* as the kernel has it, which is not on every file system what stat(2) says; so is `dev` */
	__u64 changed_ns; /* status change, since 1970, which nobody can set */
	__u32 dev;
	__u32 size; /* its low half */
};

/*
 * sl_connects: hash, key __u64 address of the kernel's task, one entry for each thread of ours: whose it is, for programs that can't
 * ask sl_tasks or didn't find it there, and its connect or send in flight. It is a hash because cgroup programs have no task storage before
 * Linux 6.16, and by address because an exec can change a thread's id. An address can be another task's later: an entry counts only
 * for a process of the same start time.
 */
struct sl_pending_connect {
	__u64 sandbox;
	__u64 start_ns; /* of the process: start_time_ns of sl_event_hdr */
	__u64 cookie;
	__u8 addr[16];
	__u16 port; /* host order */
	__u16 local_port; /* host order; 0 = not bound yet */
	__u16 family;
	__u16 protocol;
	__u16 type;
	__u8 state; /* enum sl_connect_state */
	__u8 via; /* enum sl_via */
	__u32 fd; /* of an interrupted one */
	__u32 exec_count; /* as sl_task */
	__u32 messages; /* of this sendmmsg(2), seen so far; 0 = another call */
	__u8 verdict; /* as sl_connect, of the connect or send in flight */
	__u8 why;
	__u16 stops; /* enum sl_stop */
	__u32 rule;
	__u32 generation;
	__u32 wait_us; /* SL_STOP_TURN: until then */
	__u64 peer; /* the kernel's address of the name of the Unix socket that was found to be meant; 0 = any will do */
	struct sl_program program; /* that the process runs; a child has its parent's until it executes its own */
};

enum sl_task_flag {
	SL_TASK_READS_COMMANDS = 1u << 0, /* its last exec, or its parent's, was of a shell or an interpreter */
	SL_TASK_FORBIDDEN = 1u << 1, /* it came in with a socket that it must not have: it ends at its next call */
	SL_TASK_HELD = 1u << 2, /* it was stopped for its exec, or for what it did beyond a limit, and may be in sl_held */
};

/*
 * sl_tasks: task storage; a task that has an entry with a sandbox is ours, wherever its cgroup is now. User space writes the
 * first task's entry (by pidfd, before it may exec); the fork hook copies it to every child. A thread without an entry of its own gets
 * its leader's when it is first looked at.
 */
struct sl_task {
	__u64 sandbox; /* 0 = not ours */
	__u32 exec_count;
	__u32 exited; /* 1 = the process's exit was reported; set on the leader's entry */
	__u32 turn; /* while two loads are attached: the generation of the one that acts on what this task is just doing */
	__u32 flags; /* enum sl_task_flag */
};

/*
 * sl_control: array of one. Which load of the programs acts, where several can be attached at once: a sensor that starts again puts
 * its programs beside those it found, hands over by one write of `active`, and takes the others away. Only generations other than 0
 * ask; a run's own load, which is alone, has none.
 */
struct sl_control {
	__u64 counters_id; /* names the counters and rings, for as long as they are pinned */
	__u64 missed_before; /* times that programs of earlier loads were skipped by the kernel */
	__u32 active; /* generation that acts */
	__u32 previous; /* generation that acted before and is still attached; 0 = one alone is */
};

/* sl_counters: per-CPU array of one. attempted = submitted + folded + dropped, exactly; submitted is also how many records there were. */
struct sl_kind_counters {
	__u64 attempted;
	__u64 submitted;
	__u64 folded; /* told by a submitted record that stands for more than one: those beyond the one */
	__u64 dropped; /* the ring was full, or the sandbox had its share of it */
};

struct sl_counters {
	__u64 seq; /* next cpu_seq */
	__u64 identity_failures; /* a task whose id, or whose place for a connect, could not be stored: its sandbox is quarantined */
	__u64 read_failures; /* a helper failed while a record was filled in; the record went out with what there was */
	__u64 watch_failures; /* a cgroup that should have been found or watched and for which there was no room */
	struct sl_kind_counters kinds[SL_KINDS_MAX];
};

enum sl_ring_index {
	SL_RING_PRIORITY,
	SL_RING_BULK,
	SL_RINGS,
};

/* sl_ring_sizes: array, key enum sl_ring_index. Written by user space before anything is attached. */
struct sl_ring_size {
	__u64 bytes; /* 0 = one sandbox alone has this load, and the ring for itself: it has no share */
	__u32 span_shift; /* a span has 1 << span_shift bytes, an eighth of the ring */
	__u32 pad;
};

/* attempted = submitted + folded + dropped, as in sl_kind_counters. */
struct sl_share_counters {
	__u64 submitted;
	__u64 folded;
	__u64 dropped; /* the ring was full, or the sandbox had its share of it */
};

/*
 * sl_shares: hash, key __u64 id of a sandbox. What it has in the rings and what it lost, of each sandbox; made by whoever makes the
 * root's entry in sl_sandboxes, removed by user space when its last losses were told. What a sandbox without an entry does is counted
 * with SL_SHARE_OTHERS.
 */
struct sl_share {
	__u64 spans[SL_RINGS * SL_SPANS]; /* number of the span << 32 | bytes put there */
	struct sl_share_counters kinds[SL_KINDS_MAX];
};

enum sl_walk_mode {
	SL_WALK_TAG = 1, /* gives the sandbox's id to every task of its cgroups that has none */
	SL_WALK_UNTAG = 2, /* takes it away from every task that has it */
	SL_WALK_LIST = 3, /* only says which tasks have it */
};

/* sl_walk_request: array of one. What the walk over all tasks is to do; written before each walk. */
struct sl_walk_request {
	__u64 sandbox;
	__u32 mode; /* enum sl_walk_mode */
	__u32 changed; /* counted by the walk: ids given or taken */
};

enum sl_walked_flag {
	SL_WALKED_FAILED = 1u << 0, /* it should have the id, and the id could not be stored */
	SL_WALKED_DEAD = 1u << 1, /* all threads of its process have ended */
};

/* What a walk writes of each task that it concerns. Words as in event_abi.h. */
struct sl_walked {
	__u64 start_time_ns; /* of the process */
	__u64 parent_start_ns;
	__u64 cgroup_id; /* that the task is in now */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__u32 exec_count;
	__u32 flags; /* enum sl_walked_flag */
	__u32 pad;
};

/* What a walk writes of a connection that is to be reset. Addresses in network order, IPv4 as ::ffff:a.b.c.d; ports in host order. */
struct sl_walked_connection {
	__u64 cookie;
	__u8 local_addr[16];
	__u8 addr[16]; /* of the other end */
	__u16 local_port;
	__u16 port;
	__u16 family;
	__u16 pad;
	__u32 device; /* that it is bound to; 0 = none */
	__u32 netns; /* inode number of its network namespace */
	__u32 pid; /* a process that has it open */
	__u32 pad2;
};

/* What a walk writes of each file that the process which walks has open itself. */
struct sl_walked_file {
	struct sl_program program;
	__u32 fd;
	__u32 pad;
};

_Static_assert(sizeof(struct sl_walked_connection) == 64, "sl_walked_connection");
_Static_assert(sizeof(struct sl_walk_request) == 16, "sl_walk_request");
_Static_assert(sizeof(struct sl_walked) == 56, "sl_walked");
_Static_assert(sizeof(struct sl_sandbox) == 16, "sl_sandbox");
_Static_assert(sizeof(struct sl_watch) == 72, "sl_watch");
_Static_assert(sizeof(struct sl_state) == 8, "sl_state");
_Static_assert(sizeof(struct sl_program) == 24, "sl_program");
_Static_assert(sizeof(struct sl_walked_file) == 32, "sl_walked_file");
_Static_assert(sizeof(struct sl_pending_connect) == 112, "sl_pending_connect");
_Static_assert(sizeof(struct sl_task) == 24, "sl_task");
_Static_assert(sizeof(struct sl_control) == 24, "sl_control");
_Static_assert(sizeof(struct sl_counters) == 32 + 32 * 32, "sl_counters");
_Static_assert(sizeof(struct sl_ring_size) == 16, "sl_ring_size");
_Static_assert(sizeof(struct sl_share_counters) == 24, "sl_share_counters");
_Static_assert(sizeof(struct sl_share) == 2 * 16 * 8 + 32 * 24, "sl_share");

#endif
