// SPDX-License-Identifier: Apache-2.0
/*
 * Does something very many times, and tries an address by each: `too_many WHAT HOW-MANY ADDRESS PORT TOKEN`. WHAT: addresses, sends to as many
 * others in between; sockets, keeps each open; processes, forks each. Less where the machine has less. Prints how many there were, how
 * many tries were refused, and how many not.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <sys/resource.h>
#include <sys/wait.h>

#define EVERY 10
#define SECONDS_MAX 25
#include <time.h>

static unsigned made, refused, others;

static void count(int err)
{
	refused += err == EPERM;
	others += err != EPERM;
}

static int send_to(const struct target *to, int fd)
{
	return sendto(fd, to->token, strlen(to->token), 0, (void *)&to->addr, to->len) < 0 ? errno : 0;
}

static void addresses(const struct target *to, unsigned number, int fd)
{
	struct target other = *to;

	((struct sockaddr_in *)&other.addr)->sin_addr.s_addr = htonl(0x0acb0000 | (number & 0xffff));
	((struct sockaddr_in *)&other.addr)->sin_port = htons(9);
	send_to(&other, fd);
	made++;
	if (number % EVERY == 0)
		count(send_to(to, fd));
}

static int sockets(const struct target *to, unsigned number)
{
	int fd = socket(AF_INET, number & 1 ? SOCK_STREAM : SOCK_DGRAM, 0);

	if (fd < 0)
		return -1;
	made++;
	if (number & 1)
		count(connect(fd, (void *)&to->addr, to->len) ? errno : 0);
	else
		count(send_to(to, fd));
	return 0;
}

static int processes(const struct target *to)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid)
		_exit(send_to(to, socket(AF_INET, SOCK_DGRAM, 0)));
	waitpid(pid, &status, 0);
	made++;
	count(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct target to;
	unsigned most;
	time_t end = time(NULL) + SECONDS_MAX;
	int fd;

	if (argc != 6 || parse_target(&to, argv[3], argv[4], argv[5]))
		return 2;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	most = atoi(argv[2]);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (unsigned i = 0; i < most && time(NULL) < end; i++) {
		if (!strcmp(argv[1], "addresses"))
			addresses(&to, i, fd);
		else if (strcmp(argv[1], "sockets") ? processes(&to) : sockets(&to, i))
			break;
	}
	printf("%u %u %u\n", made, refused, others);
	return 0;
}
