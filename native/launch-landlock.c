// SPDX-License-Identifier: Apache-2.0
/*
 * Landlock, as far as it is about processes: the command can't signal or trace those outside, nor connect to abstract Unix sockets of
 * theirs; and, where rules are for certain programs, its processes can't write each other's memory by /proc. Other files are not here
 * yet. By the raw system calls, with the numbers of include/uapi/linux/landlock.h: older headers lack them.
 */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define ASK_VERSION 1U
#define SCOPES_ABI 6 /* Linux 6.12 */
#define REFER_ABI 2 /* Linux 5.19 */
#define RULE_PATH_BENEATH 1
#define ACCESS_WRITE_FILE (1ULL << 1)
#define ACCESS_REFER \
	(1ULL << 13) /* files renamed and linked into another folder: refused by every ruleset that does not say it */
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

struct path_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

int landlock_abi(void)
{
	long abi = syscall(CREATE_RULESET, NULL, 0, ASK_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

int landlock_keep_apart(void)
{
	struct ruleset ruleset = {.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL};
	int fd, err;

	/* `degraded` says so: the caller asked before. */
	if (landlock_abi() < SCOPES_ABI)
		return 0;
	fd = (int)syscall(CREATE_RULESET, &ruleset, sizeof(ruleset), 0);
	if (fd < 0)
		return errno;
	err = syscall(RESTRICT_SELF, fd, 0) ? errno : 0;
	close(fd);
	return err;
}

static int allow_beneath(int ruleset, int dir, const char *name, uint64_t access)
{
	struct path_beneath rule = {.allowed_access = access, .parent_fd = openat(dir, name, O_PATH | O_CLOEXEC)};
	int err;

	if (rule.parent_fd < 0)
		return errno;
	err = syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) ? errno : 0;
	close(rule.parent_fd);
	return err;
}

/* All that is in / but /proc may be written, as far as it may be without us. What is not there yet, or is a link, may not. */
static int allow_all_but_proc(int ruleset)
{
	DIR *root = opendir("/");
	struct dirent *entry;
	int err;

	if (!root)
		return errno;
	err = allow_beneath(ruleset, dirfd(root), ".", ACCESS_REFER);
	while (!err && (entry = readdir(root))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !strcmp(entry->d_name, "proc") ||
		    entry->d_type == DT_LNK)
			continue;
		err = allow_beneath(ruleset, dirfd(root), entry->d_name, ACCESS_WRITE_FILE);
		/* One that went meanwhile, or that we may not even look at. */
		if (err == ENOENT || err == EACCES)
			err = 0;
	}
	closedir(root);
	return err;
}

int landlock_keep_memory(void)
{
	struct ruleset ruleset = {.handled_access_fs = ACCESS_WRITE_FILE | ACCESS_REFER};
	int fd, err;

	if (landlock_abi() < REFER_ABI)
		return ENOSYS;
	/* By the size of the first version: later ones have more than older kernels take. */
	fd = (int)syscall(CREATE_RULESET, &ruleset, sizeof(ruleset.handled_access_fs), 0);
	if (fd < 0)
		return errno;
	err = allow_all_but_proc(fd);
	if (!err)
		err = syscall(RESTRICT_SELF, fd, 0) ? errno : 0;
	close(fd);
	return err;
}
