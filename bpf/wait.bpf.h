/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A connect that waits for its turn, as its sandbox is throttled. Guards that nobody gets more for having waited, and that nothing stays stopped for
 * which no entry says until when. Which call is too soon: limit.bpf.h; who lets it go on: user space.
 */
#ifndef SLUICE_WAIT_BPF_H
#define SLUICE_WAIT_BPF_H

#include "identity.bpf.h"
#include "limit.bpf.h"
#include "syscall.bpf.h"

/*
 * Nobody can sleep here. So a connect that has to wait for its turn ends as one that the kernel makes again by itself, once its process has been
 * stopped and goes on: sys_exit stops it (stop_if_over), user space lets it go on. The socket is as it was. Only connect(2) itself, and only where sys_exit
 * comes by: whoever else is throttled is refused.
 */
static __always_inline bool has_to_wait(const struct flow *flow, const struct sl_pending_connect *pending, __u8 call_kind)
{
	return flow->verdict == SL_VERDICT_DENY && flow->why == SL_WHY_THROTTLE && flow->stops == SL_STOP_TURN && pending &&
	       call_kind == CALL_CONNECT && (pending->protocol == IPPROTO_TCP || pending->protocol == IPPROTO_UDP);
}

/*
 * It is stopped first, and kept as stopped then: user space, which ends the one before the other, may do so in between. The signal is the
 * thread's own, as one that its process has already would not have this call made again. Who wakes it sooner has the call judged sooner.
 */
static __always_inline void stop_until_turn(const struct sl_task *entry, struct task_struct *leader, __u32 pid, __u32 wait_us)
{
	__u64 key = (__u64)leader, due_ns = bpf_ktime_get_ns() + wait_us * 1000ull;
	struct sl_held *held;

	bpf_send_signal_thread(SIGSTOP);
	held = bpf_map_lookup_elem(&sl_held, &key);
	if (held && held->due_ns > due_ns)
		due_ns = held->due_ns;
	if (!keep_held(entry->sandbox, key, process_start(leader), pid, due_ns))
		bpf_send_signal_thread(SIGCONT);
}

#endif
