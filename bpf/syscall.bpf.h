/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The system calls that sys_exit looks at (the tables are in syscall_tables.bpf.h), and where each keeps its arguments: a 64-bit process can
 * call through the 32-bit entry (int 0x80), with other numbers and other registers, and must not get away by that.
 *
 * Arguments are read after the call, from the registers it was made with, which the kernel keeps (orig_ax for the number; the
 * result replaced ax).
 */
#ifndef SLUICE_SYSCALL_BPF_H
#define SLUICE_SYSCALL_BPF_H

#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "event_abi.h"
#include "syscall_tables.bpf.h"

#if !defined(__TARGET_ARCH_x86)
#error "syscall numbers and registers are laid down for x86-64 only"
#endif

#define TS_COMPAT 0x2 /* arch/x86/include/asm/thread_info.h: this call came in by the 32-bit entry */
#define X32_CALL 0x40000000 /* arch/x86/include/uapi/asm/unistd.h: by the x32 convention, 32-bit pointers in a 64-bit process */

#define AT_FDCWD (-100)
#define AT_REMOVEDIR 0x200

/* include/linux/errno.h: a signal came in; the call is made again or ends with EINTR, which is decided after sys_exit. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTART_RESTARTBLOCK 516
#define EINTR 4

/* A call that is over. */
struct call {
	struct call_shape shape;
	__u64 args[6];
	int ret; /* none of these calls returns more */
	bool narrow; /* by the 32-bit entry or x32: its structs in memory are those of 32 bits */
};

static __always_inline bool is_restarting(long ret)
{
	return -ret >= ERESTARTSYS && -ret <= ERESTART_RESTARTBLOCK;
}

/* The positive errno of a result, 0 for success; EINTR for a call that may yet be made again, and then is seen again. */
static __always_inline __u32 error_of(long ret)
{
	if (ret >= 0)
		return 0;
	return is_restarting(ret) ? EINTR : -ret;
}

/* The 64-bit call that a number means; x32 has its own numbers from 512 on for calls that take pointers to pointers. */
static __always_inline __u64 native_number(__u64 nr)
{
	if (nr < CALLS_MAX)
		return nr;
	switch (nr ^ X32_CALL) {
	case 0 ... CALLS_MAX - 1:
		return nr ^ X32_CALL;
	case 515:
		return 19; /* readv */
	case 517:
		return 45; /* recvfrom */
	case 518:
		return 46; /* sendmsg */
	case 519:
		return 47; /* recvmsg */
	case 520:
		return 59; /* execve */
	case 534:
		return 295; /* preadv */
	case 537:
		return 299; /* recvmmsg */
	case 538:
		return 307; /* sendmmsg */
	case 545:
		return 322; /* execveat */
	case 546:
		return 327; /* preadv2 */
	}
	return CALLS_MAX;
}

/* False for a number that means nothing to us in either convention: nearly every call of the machine leaves here. */
static __always_inline bool is_known_call(__u64 number)
{
	__u64 nr = native_number(number);

	return nr < CALLS_MAX && (native_calls[nr & (CALLS_MAX - 1)].kind || compat_calls[nr & (CALLS_MAX - 1)].kind);
}

/* Whether a known call can have given a file another path: in either convention, because too often does no harm. */
static __always_inline bool moves_paths(__u64 nr)
{
	return (native_calls[nr & (CALLS_MAX - 1)].how | compat_calls[nr & (CALLS_MAX - 1)].how) & HOW_MOVES_PATHS;
}

/*
 * Whether a known call is a read of something else than standard input by which nothing but bytes can come in, or has the number of one:
 * these are the calls that programs make most, and nobody's may cost more than this. One convention's read is another's close(2).
 */
static __always_inline bool is_other_read(struct task_struct *task, struct pt_regs *regs)
{
	__u64 nr = native_number(regs->orig_ax) & (CALLS_MAX - 1);
	__u8 native = native_calls[nr].kind;
	__u8 compat = compat_calls[nr].kind;
	bool is_compat;

	if (native != CALL_READ && compat != CALL_READ)
		return false;
	is_compat = task->thread_info.status & TS_COMPAT;
	if ((is_compat ? compat : native) != CALL_READ)
		return !(is_compat ? compat : native);
	if ((is_compat ? compat_calls[nr].how : native_calls[nr].how) & HOW_RECEIVES)
		return false;
	return (__u32)(is_compat ? regs->bx : regs->di);
}

/* What call `task` is in, by its number and the entry it came by. */
static __always_inline struct call_shape call_shape(struct task_struct *task, struct pt_regs *regs)
{
	bool is_compat = task->thread_info.status & TS_COMPAT;
	__u64 number = BPF_CORE_READ(regs, orig_ax);
	__u64 nr = is_compat ? number : native_number(number);
	struct call_shape shape = {};
	__u64 subcall;

	if (nr >= CALLS_MAX)
		return shape;
	if (!is_compat)
		return native_calls[nr & (CALLS_MAX - 1)];
	shape = compat_calls[nr & (CALLS_MAX - 1)];
	if (shape.kind != CALL_SOCKETCALL)
		return shape;
	subcall = BPF_CORE_READ(regs, bx);
	if (subcall >= SOCKETCALLS_MAX)
		shape.kind = CALL_NONE;
	else
		shape = socketcalls[subcall & (SOCKETCALLS_MAX - 1)];
	return shape;
}

/* The arguments of a socketcall lie in memory, where another thread can change them before they are read here. */
static __always_inline void read_socketcall_args(struct pt_regs *regs, struct call *call)
{
	__u32 args[6] = {};

	bpf_probe_read_user(args, sizeof(args), (void *)(__u64)(__u32)regs->cx);
	call->args[0] = args[0];
	call->args[1] = args[1];
	call->args[2] = args[2];
	call->args[3] = args[3];
	call->args[4] = args[4];
	call->args[5] = args[5];
}

/* Fills `call` with the shape and the arguments of the call that `task` just made. False: not one of ours after all. */
static __always_inline bool read_call(struct task_struct *task, struct pt_regs *regs, struct call *call)
{
	bool is_compat = task->thread_info.status & TS_COMPAT;

	call->shape = call_shape(task, regs);
	call->narrow = is_compat || regs->orig_ax & X32_CALL;
	if (call->shape.kind == CALL_NONE)
		return false;
	if (!is_compat) {
		call->args[0] = regs->di;
		call->args[1] = regs->si;
		call->args[2] = regs->dx;
		call->args[3] = regs->r10;
		call->args[4] = regs->r8;
		call->args[5] = regs->r9;
	} else if (compat_calls[regs->orig_ax & (CALLS_MAX - 1)].kind == CALL_SOCKETCALL) {
		read_socketcall_args(regs, call);
	} else {
		call->args[0] = (__u32)regs->bx;
		call->args[1] = (__u32)regs->cx;
		call->args[2] = (__u32)regs->dx;
		call->args[3] = (__u32)regs->si;
		call->args[4] = (__u32)regs->di;
		call->args[5] = (__u32)regs->bp;
	}
	return true;
}

/* The argument that a shape names; 0 for none. Chosen by comparing, because the verifier knows no variable index into the stack. */
static __always_inline __u64 call_arg(const struct call *call, __u8 index)
{
	switch (index) {
	case 1:
		return call->args[0];
	case 2:
		return call->args[1];
	case 3:
		return call->args[2];
	case 4:
		return call->args[3];
	case 5:
		return call->args[4];
	case 6:
		return call->args[5];
	}
	return 0;
}

static __always_inline int call_dirfd(const struct call *call, __u8 index)
{
	return index ? (int)call_arg(call, index) : AT_FDCWD;
}

#endif
