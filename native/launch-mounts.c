// SPDX-License-Identifier: Apache-2.0
/* Folders and sockets that the command must not see: each is covered, in a mount namespace of the command's own. */
#include "launch.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>

/* One that is gone meanwhile shows nothing. */
static bool is_gone(int err)
{
	return err == ENOENT || err == ENOTDIR;
}

int mounts_hide(const struct launch_covers *covers)
{
	if (!covers->dir_count && !covers->file_count)
		return 0;
	if (unshare(CLONE_NEWNS))
		return errno;
	/* What the host mounts later still arrives; what is mounted here stays here. */
	if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return errno;
	for (size_t i = 0; i < covers->dir_count; i++) {
		if (mount("sluice-hidden", covers->dirs[i], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=0555,nr_inodes=1") &&
		    !is_gone(errno))
			return errno;
	}
	for (size_t i = 0; i < covers->file_count; i++) {
		if (mount("/dev/null", covers->files[i], NULL, MS_BIND, NULL) && !is_gone(errno))
			return errno;
	}
	return 0;
}
