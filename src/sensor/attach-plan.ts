/**
 * Which BPF program is attached where, what it is for, and what is lost without it. The one list that the sensor attaches by and
 * that `doctor` explains by.
 */

export interface PlannedProgram {
  /** Name in the object. */
  readonly program: string
  /** `trace` = its own tracepoint by BTF; `cgroup-root` = a cgroup hook at the root of the v2 hierarchy. */
  readonly at: 'trace' | 'cgroup-root'
  /** What an event's `source` and an operator call it. */
  readonly hook: string
  /** What is not seen where it does not load. */
  readonly lost: string
}

export const CORE_OBJECT = 'core'
export const URING_OBJECT = 'uring'

/** In the order of attaching: identity first, so that no event is made for a task that could lose it. */
export const ATTACH_PLAN: readonly PlannedProgram[] = Object.freeze([
  {
    program: 'sl_fork_hook',
    at: 'trace',
    hook: 'tp_btf/sched_process_fork',
    lost: 'identity is not inherited: nothing can be traced',
  },
  { program: 'sl_exit_hook', at: 'trace', hook: 'tp_btf/sched_process_exit', lost: 'ends of processes' },
  {
    program: 'sl_cgroup_mkdir',
    at: 'trace',
    hook: 'tp_btf/cgroup_mkdir',
    lost: 'cgroups that a sandbox makes: processes put there from outside are not its own',
  },
  { program: 'sl_cgroup_rmdir', at: 'trace', hook: 'tp_btf/cgroup_rmdir', lost: 'cgroups that are removed' },
  {
    program: 'sl_cgroup_attach',
    at: 'trace',
    hook: 'tp_btf/cgroup_attach_task',
    lost: 'processes that are moved into or out of a sandbox, until they run another program',
  },
  {
    program: 'sl_exec_hook',
    at: 'trace',
    hook: 'tp_btf/sched_process_exec',
    lost: 'programs that are run, with their arguments',
  },
  {
    program: 'sl_sys_exit',
    at: 'trace',
    hook: 'tp_btf/sys_exit',
    lost: 'files that are opened and changed, results of connects, sockets that are made and listened on',
  },
  {
    program: 'sl_tcp_state',
    at: 'trace',
    hook: 'tp_btf/inet_sock_set_state',
    lost: 'ends of TCP connections and how much went over them',
  },
  { program: 'sl_connect4', at: 'cgroup-root', hook: 'cgroup/connect4', lost: 'connects over IPv4' },
  { program: 'sl_connect6', at: 'cgroup-root', hook: 'cgroup/connect6', lost: 'connects over IPv6' },
  {
    program: 'sl_sendmsg4',
    at: 'cgroup-root',
    hook: 'cgroup/sendmsg4',
    lost: 'sends of unconnected UDP sockets over IPv4',
  },
  {
    program: 'sl_sendmsg6',
    at: 'cgroup-root',
    hook: 'cgroup/sendmsg6',
    lost: 'sends of unconnected UDP sockets over IPv6',
  },
  {
    program: 'sl_recvmsg4',
    at: 'cgroup-root',
    hook: 'cgroup/recvmsg4',
    lost: 'that answers to names come from where they were asked, over IPv4',
  },
  {
    program: 'sl_recvmsg6',
    at: 'cgroup-root',
    hook: 'cgroup/recvmsg6',
    lost: 'that answers to names come from where they were asked, over IPv6',
  },
  {
    program: 'sl_getpeername4',
    at: 'cgroup-root',
    hook: 'cgroup/getpeername4',
    lost: 'that a socket is connected to where its names are asked, over IPv4',
  },
  {
    program: 'sl_getpeername6',
    at: 'cgroup-root',
    hook: 'cgroup/getpeername6',
    lost: 'that a socket is connected to where its names are asked, over IPv6',
  },
  {
    program: 'sl_sock_create',
    at: 'cgroup-root',
    hook: 'cgroup/sock_create',
    lost: 'refusal of raw sockets and of protocols that no rule can allow',
  },
  {
    program: 'sl_sock_release',
    at: 'cgroup-root',
    hook: 'cgroup/sock_release',
    lost: 'that a connection which could not be made is not open any more, for the limit of those',
  },
  {
    program: 'sl_sockops',
    at: 'cgroup-root',
    hook: 'cgroup/sock_ops',
    lost: 'pacing of TCP by the limit of bytes: it is dropped instead',
  },
  {
    program: 'sl_egress',
    at: 'cgroup-root',
    hook: 'cgroup_skb/egress',
    lost: 'refusal of what no call shows: packets of raw and ping sockets, and of sockets connected before the policy',
  },
  {
    program: 'sl_ingress',
    at: 'cgroup-root',
    hook: 'cgroup_skb/ingress',
    lost: 'what resolvers answer where names do not go to the gateway, and so the names of addresses',
  },
])

const URING_LOST = 'what is done by io_uring: opens, changes of the file tree, connects, sends, sockets'
const URING_RESULTS_LOST = 'results of what is done by io_uring'

/**
 * What a kernel may be without: nothing else is lost then, and every sandbox says so in `degraded`. Of each group the first that the
 * kernel has is attached.
 */
export const OPTIONAL_PLAN: readonly (readonly PlannedProgram[])[] = Object.freeze([
  [
    { program: 'sl_uring_submit', at: 'trace', hook: 'tp_btf/io_uring_submit_req', lost: URING_LOST },
    { program: 'sl_uring_submit_sqe', at: 'trace', hook: 'tp_btf/io_uring_submit_sqe', lost: URING_LOST },
  ],
  [{ program: 'sl_uring_complete', at: 'trace', hook: 'tp_btf/io_uring_complete', lost: URING_RESULTS_LOST }],
])

/**
 * In the core object too, and attached with the rest where the kernel has these hooks (since Linux 6.7). Elsewhere Unix sockets have no
 * verdict, and every sandbox says so in `degraded`.
 */
export const UNIX_PLAN: readonly PlannedProgram[] = Object.freeze([
  {
    program: 'sl_connect_unix',
    at: 'cgroup-root',
    hook: 'cgroup/connect_unix',
    lost: 'refusal of connects to Unix sockets',
  },
  {
    program: 'sl_sendmsg_unix',
    at: 'cgroup-root',
    hook: 'cgroup/sendmsg_unix',
    lost: 'refusal of messages that are sent to Unix sockets by name',
  },
])

/** What of the core object is attached on this kernel. */
export function plannedOf(object: { missing(): readonly string[] }): readonly PlannedProgram[] {
  const missing = object.missing()
  return [...ATTACH_PLAN, ...UNIX_PLAN.filter(({ program }) => !missing.includes(program))]
}
