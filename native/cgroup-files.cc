// SPDX-License-Identifier: Apache-2.0
#include "cgroup-files.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A list of pids longer than this is more than the kernel's largest pid_max can fill. */
static constexpr size_t FILE_BYTES_MAX = 64 * 1024 * 1024;
/* For kernels without cgroup.kill: a subtree deeper than this, or one that outruns this many passes, is reported as EBUSY. */
static constexpr int DEPTH_MAX = 64;
static constexpr int KILL_PASSES_MAX = 64;

static int check_cgroup2(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return -errno;
	return fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : -EOPNOTSUPP;
}

/* Makes `path` if its parent is cgroup v2: nothing is left behind in a file system that isn't. */
static int make_dir(const std::string &path)
{
	size_t slash = path.rfind('/');
	std::string parent = slash == 0 ? "/" : path.substr(0, slash);
	const char *name = path.c_str() + slash + 1;
	int fd = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = check_cgroup2(fd);
	if (!err && mkdirat(fd, name, 0755))
		err = errno == EEXIST ? 0 : -errno;
	else if (!err && fchmodat(fd, name, 0755, 0)) /* the umask had its say in mkdir */
		err = -errno;
	close(fd);
	return err;
}

int cgroup_open_dir(const std::string &given, bool create, int *ret_fd)
{
	std::string path = given;
	int err, fd;

	while (path.size() > 1 && path.back() == '/')
		path.pop_back();
	if (create && path != "/") {
		err = make_dir(path);
		if (err)
			return err;
	}
	fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	err = check_cgroup2(fd);
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

int cgroup_write(int dir, const char *file, const std::string &text)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	/* One write is one command to the kernel; there are no partial ones. */
	if (write(fd, text.data(), text.size()) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int read_file(int dir, const char *file, std::string *ret_text)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	char chunk[16384];
	ssize_t got;

	if (fd < 0)
		return -errno;
	ret_text->clear();
	while ((got = read(fd, chunk, sizeof(chunk))) > 0) {
		ret_text->append(chunk, static_cast<size_t>(got));
		if (ret_text->size() > FILE_BYTES_MAX) {
			close(fd);
			return -EFBIG;
		}
	}
	int err = got < 0 ? -errno : 0;

	close(fd);
	return err;
}

int cgroup_read_pids(int dir, std::vector<pid_t> *ret_pids)
{
	std::string text;
	int err = read_file(dir, "cgroup.procs", &text);

	if (err)
		return err;
	ret_pids->clear();
	for (const char *at = text.c_str(); *at;) {
		char *end;
		long pid = strtol(at, &end, 10);

		if (end == at)
			return -EBADMSG;
		/* 0 is a process of another pid namespace; to kill(2) it would be our own group. */
		if (pid > 0)
			ret_pids->push_back(static_cast<pid_t>(pid));
		at = *end == '\n' ? end + 1 : end;
	}
	return 0;
}

int cgroup_is_populated(int dir, bool *ret_populated)
{
	std::string text;
	int err = read_file(dir, "cgroup.events", &text);

	if (!err)
		*ret_populated = text.find("populated 1") != std::string::npos;
	return err;
}

int cgroup_is_frozen(int dir, bool *ret_frozen)
{
	std::string text;
	int err = read_file(dir, "cgroup.events", &text);

	if (!err)
		*ret_frozen = text.find("frozen 1") != std::string::npos;
	return err;
}

/* One pass over a subtree. */
static int kill_pass(int dir, int depth)
{
	std::vector<pid_t> pids;
	struct dirent *entry;
	DIR *listing;
	int err, fd;

	if (depth > DEPTH_MAX)
		return -EBUSY;
	err = cgroup_read_pids(dir, &pids);
	if (err)
		return err;
	for (pid_t pid : pids)
		kill(pid, SIGKILL);
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	listing = fdopendir(fd);
	if (!listing) {
		close(fd);
		return -ENOMEM;
	}
	while (!err && (entry = readdir(listing))) {
		int child;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		/* Gone already: nothing to kill in it. */
		if (child < 0)
			continue;
		err = kill_pass(child, depth + 1);
		close(child);
		if (err == -ENODEV || err == -ENOENT)
			err = 0;
	}
	closedir(listing);
	return err;
}

int cgroup_kill_all(int dir)
{
	bool populated = false;
	int err = cgroup_is_populated(dir, &populated);

	/* Every cgroup has this file but the root of the hierarchy. */
	if (err)
		return err == -ENOENT ? -EINVAL : err;
	err = cgroup_write(dir, "cgroup.kill", "1");
	if (err != -ENOENT)
		return err;
	/* Before Linux 5.14. A process that forks meanwhile is met by the next pass. */
	for (int pass = 0; pass < KILL_PASSES_MAX; pass++) {
		err = kill_pass(dir, 0);
		if (err)
			return err;
		err = cgroup_is_populated(dir, &populated);
		if (err || !populated)
			return err;
	}
	return -EBUSY;
}
