/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a cgroup v2 directory, read and written relative to its fd. All return 0 or a negative errno. */
#ifndef SLUICE_CGROUP_FILES_H
#define SLUICE_CGROUP_FILES_H

#include <string>
#include <sys/types.h>
#include <vector>

/* Opens an existing directory, after making it if `create`; -EOPNOTSUPP where the path is not in cgroup v2. */
int cgroup_open_dir(const std::string &path, bool create, int *ret_fd);

int cgroup_write(int dir, const char *file, const std::string &text);

/* Pids in the cgroup itself. Processes that this pid namespace can't see are left out. */
int cgroup_read_pids(int dir, std::vector<pid_t> *ret_pids);

int cgroup_is_populated(int dir, bool *ret_populated);

/* Whether the freezer has reached everything in the cgroup and below it. */
int cgroup_is_frozen(int dir, bool *ret_frozen);

/* SIGKILL to everything in the cgroup and below it. -EINVAL for the root of the hierarchy, which is the whole machine. */
int cgroup_kill_all(int dir);

#endif
