// SPDX-License-Identifier: Apache-2.0
/*
 * `swarm COUNT FILE`: COUNT processes of two threads each that hand on to a child and end, each after PACE_US, until FILE is there:
 * whoever looks for them meets ever new ones. Then each thread of those that are left opens FILE once and waits to be killed, two
 * minutes at most. Half of the forks are made by the second thread. Without FILE it is over by itself. Everybody else goes first, or whoever
 * is to look for them would get no turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SWARM_SECONDS 60
#define LEFT_SECONDS 120
#define PACE_US 20000
#define LOOK_US 20000
#define LAST_NICE 19
#define STACK_BYTES (64 * 1024)

static const char *file;
static time_t until;

static int goes_on(void)
{
	return access(file, F_OK) && time(NULL) < until;
}

static void end_of_swarm(void)
{
	int fd;

	while (goes_on())
		usleep(LOOK_US);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	sleep(LEFT_SECONDS);
}

static void hand_on(unsigned int generation);

static void *second(void *argument)
{
	unsigned int generation = (unsigned int)(unsigned long)argument;

	if (goes_on() && generation % 2)
		hand_on(generation);
	end_of_swarm();
	return NULL;
}

static void live(unsigned int generation)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	while (pthread_create(&thread, &attributes, second, (void *)(unsigned long)generation) == EAGAIN)
		usleep(1000);
	if (goes_on() && !(generation % 2))
		hand_on(generation);
	end_of_swarm();
	_exit(0);
}

static void hand_on(unsigned int generation)
{
	pid_t pid;

	usleep(PACE_US);
	if (!goes_on())
		return;
	pid = fork();
	if (!pid)
		live(generation + 1);
	if (pid > 0)
		_exit(0);
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[1]) : 0;

	if (count <= 0 || nice(LAST_NICE) == -1)
		return 2;
	until = time(NULL) + SWARM_SECONDS;
	file = argv[2];
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < count; i++) {
		if (!fork())
			live((unsigned int)i);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 0;
}
