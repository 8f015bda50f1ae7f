// SPDX-License-Identifier: Apache-2.0
/*
 * Opens of every kind in the directory it is started in, where the test has put: file, link -> file, dir/, bound/ (a bind mount of
 * dir), jail/. Prints one line each: a word, and what open returned: 0 or an errno. A path that the test looks for is never opened
 * twice.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DEEP = 300 };

static int say(const char *word, long fd)
{
	printf("%s %d\n", word, fd < 0 ? errno : 0);
	return (int)fd;
}

static void done(const char *word, long fd)
{
	say(word, fd);
	if (fd >= 0)
		close((int)fd);
}

static void plain(void)
{
	done("new", open("new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	done("exists", open("./new", O_WRONLY | O_CREAT | O_EXCL, 0600));
	done("created-before", open(".//new", O_RDWR | O_CREAT | O_APPEND, 0600));
	done("creat", syscall(SYS_creat, "creat", 0600));
	done("old-open", syscall(SYS_open, "file", O_RDONLY | O_NONBLOCK));
	done("truncated", open("./file", O_WRONLY | O_TRUNC));
	done("link", open("link", O_RDONLY));
	done("link-refused", open("./link", O_RDONLY | O_NOFOLLOW));
	done("missing", open("dir/../missing", O_RDONLY));
	done("directory", open("dir", O_RDONLY | O_DIRECTORY));
	done("no-directory", open("file/x", O_RDONLY));
	done("bound", open("bound/in-dir", O_RDONLY));
	done("path-only", open("dir/in-dir", O_PATH));
	done("bad-address", syscall(SYS_openat, AT_FDCWD, 8, O_RDONLY));
	done("empty", open("", O_RDONLY));
}

static void by_descriptor(void)
{
	int dir = open("./dir", O_PATH | O_DIRECTORY);
	struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0600};
	struct open_how no_links = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
	struct {
		struct file_handle head;
		char bytes[128];
	} handle = {.head.handle_bytes = 128};
	int mount_id;

	done("relative", openat(dir, "in-dir", O_RDONLY));
	done("relative-missing", openat(dir, "not-in-dir", O_RDONLY));
	done("bad-descriptor", openat(999, "anything", O_RDONLY));
	done("openat2", syscall(SYS_openat2, dir, "by-openat2", &how, sizeof(how)));
	done("openat2-refused", syscall(SYS_openat2, AT_FDCWD, ".//link", &no_links, sizeof(no_links)));
	if (!name_to_handle_at(AT_FDCWD, "file", &handle.head, &mount_id, 0))
		done("by-handle", open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY | O_NOATIME));
	close(dir);
}

static void odd(void)
{
	char path[64];
	int fd = open("doomed", O_RDWR | O_CREAT, 0600);

	unlink("doomed");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	done("deleted", open(path, O_RDONLY));
	fd = memfd_create("in-memory", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/./%d", fd);
	done("memfd", open(path, O_RDONLY));
	done("odd-bytes", open("\xff\xfe\\\x1b", O_RDONLY | O_CREAT, 0600));
}

static void long_paths(void)
{
	static char name[256], path[5000];
	int i, home = open("./", O_RDONLY | O_DIRECTORY);

	memset(name, 'n', 200);
	for (i = 0; i < 18; i++) {
		mkdir(name, 0700);
		if (chdir(name))
			return;
	}
	done("long", open("at-the-end", O_RDONLY | O_CREAT, 0600));
	if (fchdir(home))
		return;
	for (i = 0; i < DEEP; i++) {
		mkdir("d", 0700);
		if (chdir("d"))
			return;
	}
	done("deep", open("at-the-bottom", O_RDONLY | O_CREAT, 0600));
	if (fchdir(home))
		return;
	memset(path, 'p', sizeof(path) - 1);
	done("too-long", open(path, O_RDONLY));
}

static void jailed(void)
{
	if (chroot("jail") || chdir("/"))
		return;
	done("jailed", open("/inside", O_RDONLY));
	done("jailed-missing", open("/not-inside", O_RDONLY));
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	plain();
	by_descriptor();
	odd();
	long_paths();
	jailed();
	return 0;
}
