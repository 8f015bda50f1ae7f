// SPDX-License-Identifier: Apache-2.0
/*
 * The work that benchmarks have watched:
 *
 *   load execs N            N times fork, exec of /bin/true, wait
 *   load forks N            N times fork, exit, wait
 *   load opens N            N times open and close of one path
 *   load distinct N DIR     N times open and close, each of another file of DIR (made before the clock starts)
 *   load connects N         N connects to a port of our own on 127.0.0.1, accepted and closed
 *   load rate R SECONDS DIR R opens a second, for writing, of files of DIR in turn
 *
 * Prints one line when it is done: what it did, seconds of wall clock and of its own CPU, the first part alone without preparation.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RATE_FILES = 10000, RATE_STEPS_PER_S = 1000, PATH_BYTES = 4096 };

static const char *dir;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this process and what it has waited for. */
static double cpu(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
	       (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) /
		       1e6;
}

static void path_of(long i, char *ret_path)
{
	snprintf(ret_path, PATH_BYTES, "%s/%02ld/file-%07ld.txt", dir, i % 100, i);
}

static void make_files(long count)
{
	char path[PATH_BYTES];

	for (long i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "%s/%02ld", dir, i);
		if (mkdir(path, 0755) && errno != EEXIST)
			die(path);
	}
	for (long i = 0; i < count; i++) {
		path_of(i, path);
		if (mknod(path, S_IFREG | 0644, 0) && errno != EEXIST)
			die(path);
	}
}

static void open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		die(path);
	close(fd);
}

static void execs(long count)
{
	for (long i = 0; i < count; i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			execl("/bin/true", "true", "of", "load", (char *)NULL);
			_exit(126);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			die("exec");
	}
}

static void forks(long count)
{
	for (long i = 0; i < count; i++) {
		int status;
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			die("fork");
	}
}

static void opens(long count)
{
	for (long i = 0; i < count; i++)
		open_close("/etc/passwd", O_RDONLY);
}

static void distinct(long count)
{
	char path[PATH_BYTES];

	for (long i = 0; i < count; i++) {
		path_of(i, path);
		open_close(path, O_RDONLY);
	}
}

static void connects(long count)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(to);
	struct linger reset = {.l_onoff = 1};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listener, (struct sockaddr *)&to, length) || listen(listener, 128) ||
	    getsockname(listener, (struct sockaddr *)&to, &length))
		die("listen");
	for (long i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), other;

		/* A reset leaves no port in TIME_WAIT, of which there would not be enough. */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		if (connect(fd, (struct sockaddr *)&to, length))
			die("connect");
		other = accept(listener, NULL, NULL);
		close(fd);
		close(other);
	}
}

/* In bursts of a millisecond. Behind schedule it does not wait: what is asked for is done, if later. */
static void at_rate(long rate, long seconds)
{
	char path[PATH_BYTES];
	double start = now(CLOCK_MONOTONIC);
	long done = 0;

	for (long step = 1; step <= seconds * RATE_STEPS_PER_S; step++) {
		double ahead = start + (double)step / RATE_STEPS_PER_S - now(CLOCK_MONOTONIC);

		for (; done < rate * step / RATE_STEPS_PER_S; done++) {
			path_of(done % RATE_FILES, path);
			open_close(path, O_WRONLY);
		}
		ahead = start + (double)step / RATE_STEPS_PER_S - now(CLOCK_MONOTONIC);
		if (ahead > 0) {
			struct timespec rest = {.tv_nsec = (long)(ahead * 1e9)};

			nanosleep(&rest, NULL);
		}
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long count = argc > 2 ? atol(argv[2]) : 0, seconds = 0;
	double wall, used;

	dir = argv[argc - 1];
	if (!strcmp(what, "distinct") && argc == 4)
		make_files(count);
	if (!strcmp(what, "rate") && argc == 5) {
		seconds = atol(argv[3]);
		make_files(RATE_FILES);
	}
	wall = now(CLOCK_MONOTONIC);
	used = cpu();
	if (!strcmp(what, "execs"))
		execs(count);
	else if (!strcmp(what, "forks"))
		forks(count);
	else if (!strcmp(what, "opens"))
		opens(count);
	else if (!strcmp(what, "distinct") && argc == 4)
		distinct(count);
	else if (!strcmp(what, "connects"))
		connects(count);
	else if (seconds > 0)
		at_rate(count, seconds);
	else
		return 2;
	printf("{\"wallS\":%.6f,\"cpuS\":%.6f}\n", now(CLOCK_MONOTONIC) - wall, cpu() - used);
	return 0;
}
