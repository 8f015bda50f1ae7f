// SPDX-License-Identifier: Apache-2.0
/*
 * Opens that look alike, in the directory it is started in. `folds WORD [N]` does one thing, chosen by WORD; every loop makes N opens.
 * The test knows how many that are in all, and of what.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int times;

static void again(const char *path, int flags)
{
	for (int i = 0; i < times; i++) {
		int fd = open(path, flags, 0600);

		if (fd >= 0)
			close(fd);
	}
}

static void write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	if (fd >= 0)
		close(fd);
}

/* One path, as often as asked. */
static void one(void)
{
	again("a", O_RDONLY);
}

/* The same file by other names and in other ways: nothing of it is a repeat of anything else. */
static void unlike(void)
{
	again("a", O_RDONLY);
	again("./a", O_RDONLY);
	again("a", O_RDONLY | O_CLOEXEC);
	again("link", O_RDONLY);
}

static void writes(void)
{
	again("a", O_WRONLY);
	again("a", O_RDWR);
	again("new", O_RDONLY | O_CREAT);
	again("a", O_RDONLY | O_TRUNC);
}

static void missing(void)
{
	again("no-such-file", O_RDONLY);
	again("/no/such/file", O_RDONLY);
	again("a/below-a-file", O_RDONLY);
}

/* Its directory gets another name under its feet: the same words, the same file, another path. */
static void renamed(void)
{
	if (chdir("here"))
		exit(3);
	for (int i = 0; i < times; i++) {
		again("f", O_RDONLY);
		again("absent", O_RDONLY);
		if (rename(i % 2 ? "../there" : "../here", i % 2 ? "../here" : "../there"))
			exit(3);
	}
}

/* The same by moving a mount, in a user namespace of its own: a sandbox has no right to mount outside one. */
static void mounted(void)
{
	if (mkdir("m1", 0700) || mkdir("m2", 0700) || unshare(CLONE_NEWUSER | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("here", "m1", NULL, MS_BIND, NULL) || chdir("m1"))
		exit(3);
	again("f", O_RDONLY);
	if (mount("../m1", "../m2", NULL, MS_MOVE, NULL))
		exit(3);
	again("f", O_RDONLY);
}

/* Another directory, the same name in it. */
static void moved(void)
{
	if (chdir("here"))
		exit(3);
	for (int i = 0; i < times; i++) {
		again("linked", O_RDONLY);
		again("absent", O_RDONLY);
		if (chdir(i % 2 ? "../here" : "../other"))
			exit(3);
	}
}

/* The name is taken away and made anew: another inode, or the same number again. */
static void replaced(void)
{
	for (int i = 0; i < times; i++) {
		again("replaced", O_RDONLY);
		unlink("replaced");
		write_file("replaced");
	}
}

/* More paths than are remembered, in turn. */
static void many(void)
{
	char path[16];

	for (int i = 0; i < times; i++) {
		for (int k = 0; k < 100; k++) {
			snprintf(path, sizeof(path), "many/%d", k);
			again(path, O_RDONLY);
		}
	}
}

static void *thread(void *unused)
{
	again("a", O_RDONLY);
	return unused;
}

static void threads(void)
{
	pthread_t all[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&all[i], NULL, thread, NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(all[i], NULL);
}

/* Another user, group, parent and program in between. */
static void other_people(void)
{
	again("a", O_RDONLY);
	if (setegid(12345))
		exit(3);
	again("a", O_RDONLY);
	if (seteuid(12345))
		exit(3);
	again("a", O_RDONLY);
}

static void children(void)
{
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (!pid) {
			again("a", O_RDONLY);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

static char **own_argv;

static void execs(void)
{
	again("a", O_RDONLY);
	own_argv[1] = "one";
	execv("/proc/self/exe", own_argv);
}

static void *exec_of_thread(void *unused)
{
	execs();
	return unused;
}

/* The thread that execs takes the leader's place; the leader has counted too. */
static void thread_execs(void)
{
	pthread_t other;

	again("a", O_RDONLY);
	pthread_create(&other, NULL, exec_of_thread, NULL);
	pthread_join(other, NULL);
	exit(3);
}

static void killed(void)
{
	again("a", O_RDONLY);
	raise(9);
}

/* Counted, then quiet until there is a file `go`. */
static void rests(void)
{
	again("a", O_RDONLY);
	while (access("go", F_OK))
		usleep(10 * 1000);
	again("a", O_RDONLY);
}

/* Slower than what is counted waits. */
static void slow(void)
{
	int all = times;

	times = 1;
	for (int i = 0; i < all; i++) {
		again("a", O_RDONLY);
		usleep(10 * 1000);
	}
}

/* Too long to be remembered: each is told. */
static void long_path(void)
{
	char path[400];

	memset(path, '/', sizeof(path));
	strcpy(path + 300, "etc/passwd");
	again(path, O_RDONLY);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *word;
		void (*run)(void);
	} all[] = {{"one", one},
		   {"unlike", unlike},
		   {"writes", writes},
		   {"missing", missing},
		   {"renamed", renamed},
		   {"mounted", mounted},
		   {"moved", moved},
		   {"replaced", replaced},
		   {"many", many},
		   {"threads", threads},
		   {"other-people", other_people},
		   {"children", children},
		   {"execs", execs},
		   {"thread-execs", thread_execs},
		   {"killed", killed},
		   {"rests", rests},
		   {"slow", slow},
		   {"long-path", long_path}};

	own_argv = argv;
	times = argc > 2 ? atoi(argv[2]) : 0;
	for (unsigned i = 0; argc > 1 && i < sizeof(all) / sizeof(*all); i++) {
		if (!strcmp(argv[1], all[i].word)) {
			all[i].run();
			return 0;
		}
	}
	return 2;
}
