// SPDX-License-Identifier: Apache-2.0
/*
 * The command shares its caller's terminal, and could type into it what the caller's shell reads when the command is over: work done
 * outside, of which nothing is seen. A seccomp filter refuses the two ioctls that do so, by every call convention, and nothing else.
 * Kernels since 6.2 can refuse the first to everybody (dev.tty.legacy_tiocsti), and few do.
 */
#include "launch.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define IOCTL_NATIVE 16
#define IOCTL_X32 (0x40000000 | 514)
#define IOCTL_NARROW 54 /* of the 32-bit entry */

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

int terminal_refuse_typing(void)
{
	/* The kernel takes the lower half of the ioctl's second argument; x86 keeps it first. */
	struct sock_filter steps[] = {
		LOAD(arch),
		IF_EQUAL(AUDIT_ARCH_X86_64, 0, 3),
		LOAD(nr),
		IF_EQUAL(IOCTL_NATIVE, 4, 0),
		IF_EQUAL(IOCTL_X32, 3, 6),
		IF_EQUAL(AUDIT_ARCH_I386, 0, 5),
		LOAD(nr),
		IF_EQUAL(IOCTL_NARROW, 0, 3),
		LOAD(args[1]),
		IF_EQUAL(TIOCSTI, 2, 0),
		IF_EQUAL(TIOCLINUX, 1, 0),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {.len = sizeof(steps) / sizeof(steps[0]), .filter = steps};

	if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
		return 0;
	/* A kernel without it; or a root that may gain privileges and has no CAP_SYS_ADMIN, which `degraded` warns of. */
	return errno == EINVAL || errno == ENOSYS || errno == EACCES ? 0 : errno;
}
