// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The object of the core tier: tp_btf and cgroup programs only, no kprobes and no trampolines, so that it loads on locked-down
 * kernels too. One translation unit, because the concerns share their maps; one sys_exit program for all of them, because that
 * hook taxes every system call of the host once and should do so only once.
 */
#include "stdin.bpf.c"
#include "process.bpf.c"
#include "cgroup.bpf.c"
#include "file.bpf.c"
#include "egress.bpf.c"
#include "socket.bpf.c"
#include "connection.bpf.c"
#include "verdict.bpf.c"
#include "redirect.bpf.c"
#include "answers.bpf.c"
#include "unix.bpf.c"
#include "limit.bpf.c"

/*
 * What is done with each kind of call, as a global function: the verifier goes through it once, for any call, and not once for each way
 * that leads there.
 */
#define GLOBAL(name, emit)                                                        \
	__noinline int name(const struct sl_task *entry, const struct call *call) \
	{                                                                         \
		if (entry && call)                                                \
			emit(bpf_get_current_task_btf(), entry, call);            \
		return 0;                                                         \
	}

GLOBAL(after_open, open_emit)
GLOBAL(after_connect, connect_emit)
GLOBAL(after_send, send_emit)
GLOBAL(after_listen, listen_emit)
GLOBAL(after_socket, socket_emit)
GLOBAL(after_receive, receive_emit)
GLOBAL(after_change, change_emit)
GLOBAL(after_read, stdin_emit)
GLOBAL(after_failed_exec, exec_failed_emit)

/* A process that was stopped at its exec makes another call than that: it is stopped again unless its time has come. */
__noinline int after_held(struct sl_task *entry)
{
	if (!entry)
		return 0;
	switch (limit_held((__u64)BPF_CORE_READ(bpf_get_current_task_btf(), group_leader))) {
	case EXEC_PASSES:
		entry->flags &= ~SL_TASK_HELD;
		break;
	case EXEC_WAITS:
		bpf_send_signal(SIGSTOP);
		break;
	default:
		bpf_send_signal(SIGKILL);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sl_sys_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task;
	struct sl_task *entry;
	struct call call;

	if (!is_known_call(regs->orig_ax))
		return 0;
	if (ret >= 0 && moves_paths(regs->orig_ax))
		fold_paths_moved();
	task = bpf_get_current_task_btf();
	if (is_other_read(task, regs))
		return 0;
	entry = task_of_sandbox(task);
	if (!entry || !is_our_turn_for(entry) || !read_call(task, regs, &call))
		return 0;
	call.ret = ret;
	if (entry->flags & SL_TASK_FORBIDDEN)
		bpf_send_signal(SIGKILL);
	if (entry->flags & SL_TASK_HELD && call.shape.kind != CALL_EXEC)
		after_held(entry);
	switch (call.shape.kind) {
	case CALL_OPEN:
		after_open(entry, &call);
		break;
	case CALL_CONNECT:
		stop_if_over(entry);
		after_connect(entry, &call);
		break;
	case CALL_SEND:
		stop_if_over(entry);
		after_send(entry, &call);
		break;
	case CALL_BIND:
	case CALL_LISTEN:
		after_listen(entry, &call);
		break;
	case CALL_SOCKET:
		after_socket(entry, &call);
		break;
	case CALL_CHANGE:
		after_change(entry, &call);
		break;
	case CALL_EXEC:
		if (ret < 0)
			after_failed_exec(entry, &call);
		break;
	case CALL_RECEIVE:
		after_receive(entry, &call);
		break;
	case CALL_READ:
		if (call.shape.how & HOW_RECEIVES)
			after_receive(entry, &call);
		after_read(entry, &call);
		break;
	}
	return 0;
}

/*
 * Never called and never loaded. It names the records that only local variables use, so that the object's type information has them
 * and a test can compare their layout with the C++ compiler's.
 */
int sl_record_types(struct sl_exec *exec, struct sl_fork *fork, struct sl_exit *exit, struct sl_connect *connect)
{
	return 0;
}

/* The rest of them: a BPF function takes five arguments. */
int sl_more_record_types(struct sl_file_open *open, struct sl_file_change *change, struct sl_exec_failed *failed,
			 struct sl_closed *closed)
{
	return 0;
}

int sl_policy_types(struct sl_net_key *key, struct sl_net *net, struct sl_unix_key *unix_key, struct sl_program_key *program_key)
{
	return 0;
}

int sl_cgroup_record_types(struct sl_cgroup *cgroup, struct sl_quarantine *quarantine, struct sl_stdin *input,
			   struct sl_dns *answer)
{
	return 0;
}

int sl_limit_types(struct sl_limits *limits)
{
	return 0;
}

/* The helpers in use need a GPL-compatible licence. */
char _license[] SEC("license") = "Dual BSD/GPL";
