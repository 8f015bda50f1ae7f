// SPDX-License-Identifier: Apache-2.0
/* Capabilities by the raw system calls: the launcher needs no library beyond libc. */
#include "launch.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * With one of these in the initial user namespace a process can undo the watching, or leave the machine's rules altogether: with NET_ADMIN by
 * packets that no socket sends (a tunnel's), or that change on their way.
 */
static const unsigned int dropped[] = {
	CAP_SYS_ADMIN, CAP_BPF,     CAP_PERFMON,   CAP_SYS_PTRACE, CAP_SYS_MODULE,
	CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_RAWIO, CAP_SYS_BOOT,
};

#define DROPPED_COUNT (sizeof(dropped) / sizeof(dropped[0]))

static int drop_bounding(bool no_new_privs)
{
	for (size_t i = 0; i < DROPPED_COUNT; i++) {
		int in_set = prctl(PR_CAPBSET_READ, dropped[i], 0, 0, 0);

		/* -1: a capability that this kernel does not know. */
		if (in_set <= 0)
			continue;
		if (!prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0))
			continue;
		/* Only exec of a privileged file reads this set, and no_new_privs ends that too. */
		if (errno != EPERM || !no_new_privs)
			return errno;
	}
	return 0;
}

int privileges_drop(bool no_new_privs)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	int err = drop_bounding(no_new_privs);

	if (err)
		return err;
	if (syscall(SYS_capget, &header, sets))
		return errno;
	for (size_t i = 0; i < DROPPED_COUNT; i++) {
		struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(dropped[i])];
		__u32 keep = ~(__u32)CAP_TO_MASK(dropped[i]);

		/* The kernel takes what leaves the permitted or inheritable set out of the ambient set as well. */
		set->effective &= keep;
		set->permitted &= keep;
		set->inheritable &= keep;
	}
	return syscall(SYS_capset, &header, sets) ? errno : 0;
}

int privileges_usual_rules(void)
{
	int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);

	if (bits < 0)
		return errno;
	return bits && prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) ? errno : 0;
}

int privileges_forbid_new(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : 0;
}
