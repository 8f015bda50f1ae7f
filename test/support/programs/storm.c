// SPDX-License-Identifier: Apache-2.0
/*
 * As many events as asked for, as fast as one thread can: `storm opens N`, `storm writes N` (opens for writing, which are never told
 * together), `storm connects N` (refused ones), `storm execs N`, `storm forks N`. Told to end by SIGTERM, it prints how many they were.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_once(void)
{
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	return fd < 0 || close(fd);
}

static int write_once(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	return fd < 0 || close(fd);
}

/* Nothing listens on port 1. */
static int connect_once(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 || !connect(fd, (struct sockaddr *)&to, sizeof(to)) || close(fd);
}

static int exec_once(void)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/true", "true", "storm", (char *)NULL);
		_exit(126);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

static int fork_once(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

static volatile sig_atomic_t is_over;

static void end(int signal)
{
	(void)signal;
	is_over = 1;
}

int main(int argc, char **argv)
{
	struct sigaction on_term = {.sa_handler = end, .sa_flags = SA_RESTART};
	int count = argc == 3 ? atoi(argv[2]) : -1;
	int (*once)(void) = NULL;
	int done = 0;

	if (argc == 3 && !strcmp(argv[1], "opens"))
		once = open_once;
	if (argc == 3 && !strcmp(argv[1], "writes"))
		once = write_once;
	if (argc == 3 && !strcmp(argv[1], "connects"))
		once = connect_once;
	if (argc == 3 && !strcmp(argv[1], "execs"))
		once = exec_once;
	if (argc == 3 && !strcmp(argv[1], "forks"))
		once = fork_once;
	if (!once || count < 0 || sigaction(SIGTERM, &on_term, NULL))
		return 2;
	for (; done < count && !is_over; done++) {
		if (once())
			return 1;
	}
	return is_over && dprintf(STDOUT_FILENO, "%d\n", done) < 0;
}
