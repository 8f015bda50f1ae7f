/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs that try to reach an address share: addresses, and one line of output a try. */
#ifndef REACH_H
#define REACH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct target {
	struct sockaddr_storage addr;
	socklen_t len;
	int family;
	const char *token;
};

/* Of a try that this machine can't make: no protocol, no call. */
#define NOT_HERE 1000

static inline int parse_target(struct target *to, const char *address, const char *port, const char *token)
{
	struct sockaddr_in *v4 = (void *)&to->addr;
	struct sockaddr_in6 *v6 = (void *)&to->addr;

	memset(to, 0, sizeof(*to));
	to->token = token;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		to->family = v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(port));
		to->len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
		return -1;
	to->family = v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(atoi(port));
	to->len = sizeof(*v6);
	return 0;
}

/* 0 for a connect that got through, else errno; a second is long enough on a wire of this machine's own. */
static inline int say(int fd, const char *token)
{
	int err = write(fd, token, strlen(token)) < 0 ? errno : 0;

	shutdown(fd, SHUT_WR);
	return err;
}

static inline int bounded_socket(int family, int type, int protocol)
{
	struct timeval wait = {.tv_sec = 1};
	int fd = socket(family, type, protocol);

	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	}
	return fd;
}

#endif
