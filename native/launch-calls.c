// SPDX-License-Identifier: Apache-2.0
/*
 * System calls that a command under a policy does without, as a seccomp filter: those by which it would leave what is judged (families
 * that no hook sees, io_uring, other call conventions), get at processes outside, or change the machine. Each fails with EPERM, as for a
 * user who may not. What the terminal's filter refuses is its own (launch-terminal.c).
 */
#include "launch.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define X32_CALLS 0x40000000
#ifdef __x86_64__
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define IF_AT_LEAST(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, yes, no)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE RETURN(SECCOMP_RET_ERRNO | EPERM)
#define REFUSE_CALL(number) IF_EQUAL(number, 0, 1), REFUSE

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

static int add_filter(struct sock_filter *steps, size_t count)
{
	struct sock_fprog program = {.len = (unsigned short)count, .filter = steps};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) ? errno : 0;
}

/* Added to the other one, which refuses other conventions and other ways into a process. */
int calls_refuse_tracing(void)
{
	struct sock_filter steps[] = {
		LOAD(nr),
		REFUSE_CALL(SYS_ptrace),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return add_filter(steps, sizeof(steps) / sizeof(steps[0]));
}

int calls_refuse(void)
{
	struct sock_filter steps[] = {
		LOAD(arch),
		IF_EQUAL(NATIVE_ARCH, 1, 0),
		REFUSE,
		LOAD(nr),
		IF_AT_LEAST(X32_CALLS, 0, 1),
		REFUSE,
		/* No hook can refuse all that comes by it. */
		REFUSE_CALL(SYS_io_uring_setup),
		REFUSE_CALL(SYS_io_uring_enter),
		REFUSE_CALL(SYS_io_uring_register),
		/* The kernel and the machine. */
		REFUSE_CALL(SYS_bpf),
		REFUSE_CALL(SYS_perf_event_open),
		REFUSE_CALL(SYS_init_module),
		REFUSE_CALL(SYS_finit_module),
		REFUSE_CALL(SYS_delete_module),
		REFUSE_CALL(SYS_kexec_load),
		REFUSE_CALL(SYS_kexec_file_load),
		REFUSE_CALL(SYS_reboot),
		REFUSE_CALL(SYS_swapon),
		REFUSE_CALL(SYS_swapoff),
#ifdef __x86_64__
		REFUSE_CALL(SYS_iopl),
		REFUSE_CALL(SYS_ioperm),
#endif
		REFUSE_CALL(SYS_acct),
		/* The kernel starts a program of the machine's for these, outside, which may ask for a name. */
		REFUSE_CALL(SYS_add_key),
		REFUSE_CALL(SYS_request_key),
		/* What is where, for itself and in a user namespace of its own. */
		REFUSE_CALL(SYS_mount),
		REFUSE_CALL(SYS_umount2),
		REFUSE_CALL(SYS_pivot_root),
		REFUSE_CALL(SYS_move_mount),
		REFUSE_CALL(SYS_open_tree),
		REFUSE_CALL(SYS_open_tree_attr),
		REFUSE_CALL(SYS_fsopen),
		REFUSE_CALL(SYS_fsconfig),
		REFUSE_CALL(SYS_fsmount),
		REFUSE_CALL(SYS_fspick),
		REFUSE_CALL(SYS_mount_setattr),
		REFUSE_CALL(SYS_open_by_handle_at),
		/* Processes outside; debuggers start what they look at, and do without these. */
		REFUSE_CALL(SYS_process_vm_readv),
		REFUSE_CALL(SYS_process_vm_writev),
		REFUSE_CALL(SYS_pidfd_getfd),
		IF_EQUAL(SYS_ptrace, 0, 5),
		LOAD(args[0]),
		IF_EQUAL(PTRACE_ATTACH, 1, 0),
		IF_EQUAL(PTRACE_SEIZE, 0, 1),
		REFUSE,
		RETURN(SECCOMP_RET_ALLOW),
		/* Families that a hook sees made, or that lead nowhere. */
		IF_EQUAL(SYS_socket, 1, 0),
		IF_EQUAL(SYS_socketpair, 0, 7),
		LOAD(args[0]),
		IF_EQUAL(AF_UNIX, 5, 0),
		IF_EQUAL(AF_INET, 4, 0),
		IF_EQUAL(AF_INET6, 3, 0),
		IF_EQUAL(AF_NETLINK, 2, 0),
		IF_EQUAL(AF_ALG, 1, 0),
		REFUSE,
		RETURN(SECCOMP_RET_ALLOW),
	};

	return add_filter(steps, sizeof(steps) / sizeof(steps[0]));
}
