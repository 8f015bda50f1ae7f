// SPDX-License-Identifier: Apache-2.0
/*
 * Ways to become another process, each ending in an exec of /bin/true with the mark that the test looks for. It returns when that
 * process is gone. Exit code 77: this machine does not allow it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_ALLOWED = 77 };

extern char **environ;
static const char *mark;

static void run_mark(void)
{
	execl("/bin/true", "true", mark, (char *)NULL);
	_exit(126);
}

static int wait_for(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : 1;
}

static int fork_mark(void)
{
	pid_t pid = fork();

	if (!pid)
		run_mark();
	return wait_for(pid);
}

/* Double fork and setsid; the pipe's end says that the daemon is gone. */
static int run_daemon(void)
{
	int ends[2];
	char byte;
	pid_t pid;

	if (pipe(ends))
		return 1;
	pid = fork();
	if (!pid) {
		close(ends[0]);
		setsid();
		if (fork())
			_exit(0);
		run_mark();
	}
	close(ends[1]);
	wait_for(pid);
	return read(ends[0], &byte, 1) == 0 ? 0 : 1;
}

static void *in_thread(void *fork_first)
{
	if (!fork_first)
		run_mark();
	return (void *)(intptr_t)fork_mark();
}

static int run_thread(bool fork_first)
{
	pthread_t thread;
	void *status;

	if (pthread_create(&thread, NULL, in_thread, fork_first ? (void *)1 : NULL))
		return 1;
	pthread_join(thread, &status);
	return status != NULL;
}

static int run_spawn(void)
{
	char *argv[] = {"true", (char *)mark, NULL};
	pid_t pid;

	return posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) ? 1 : wait_for(pid);
}

/* The child runs in its parent's memory, and the parent waits, until the exec. */
static int run_vfork(void)
{
	pid_t pid = vfork();

	if (!pid)
		run_mark();
	return wait_for(pid);
}

static pthread_t main_thread;

static void *after_leader(void *unused)
{
	pthread_join(main_thread, NULL);
	if (fork_mark())
		_exit(1);
	execl("/bin/true", "true", "by-the-last-thread", (char *)NULL);
	_exit(126);
}

/* The first thread ends, the process goes on: its leader is a zombie from then on. */
static int run_leader_gone(void)
{
	pthread_t thread;

	main_thread = pthread_self();
	if (pthread_create(&thread, NULL, after_leader, NULL))
		return 1;
	pthread_exit(NULL);
}

static pthread_barrier_t line;

static void *race_to_exec(void *unused)
{
	pthread_barrier_wait(&line);
	run_mark();
	return NULL;
}

/* Many threads exec at once: one of them wins, the others are gone. */
static int run_race(void)
{
	enum { RUNNERS = 32 };
	pthread_t threads[RUNNERS];

	pthread_barrier_init(&line, NULL, RUNNERS);
	for (int i = 0; i < RUNNERS; i++) {
		if (pthread_create(&threads[i], NULL, race_to_exec, NULL))
			return 1;
	}
	for (;;)
		pause();
}

/* Pid 1 of a pid namespace of its own, in a user namespace of its own where that needs no privilege. */
static int run_pid_namespace(void)
{
	struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWPID, .exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return NOT_ALLOWED;
	if (!pid)
		run_mark();
	return wait_for((pid_t)pid);
}

/* Moves itself out of its cgroup, then goes on outside. */
static int run_leave(const char *cgroup)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1) {
		perror(path);
		return NOT_ALLOWED;
	}
	return fork_mark();
}

/* A child that is born outside. */
static int run_into(const char *cgroup)
{
	int fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};
	long pid = fd < 0 ? -1 : syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0) {
		perror("clone3");
		return NOT_ALLOWED;
	}
	if (!pid)
		run_mark();
	return wait_for((pid_t)pid);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";

	mark = argc > 2 ? argv[2] : "";
	if (!strcmp(how, "fork"))
		return fork_mark();
	if (!strcmp(how, "daemon"))
		return run_daemon();
	if (!strcmp(how, "thread-exec"))
		return run_thread(false);
	if (!strcmp(how, "thread-fork"))
		return run_thread(true);
	if (!strcmp(how, "vfork"))
		return run_vfork();
	if (!strcmp(how, "leader-gone"))
		return run_leader_gone();
	if (!strcmp(how, "thread-race"))
		return run_race();
	if (!strcmp(how, "spawn"))
		return run_spawn();
	if (!strcmp(how, "pid-namespace"))
		return run_pid_namespace();
	if (!strcmp(how, "leave") && argc > 3)
		return run_leave(argv[3]);
	if (!strcmp(how, "into") && argc > 3)
		return run_into(argv[3]);
	return 2;
}
