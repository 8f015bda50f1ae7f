// SPDX-License-Identifier: Apache-2.0
/*
 * Sends and connects to an address that another thread changes all the time: `swapped_address ALLOWED DENIED PORT TOKEN`. Prints how many
 * tries got through and how many were refused. Ends by itself.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <pthread.h>

#define TRIES 20000
#define CONNECT_EVERY 100

static struct target target;
static struct in_addr addresses[2];
static volatile int is_over;

static void *swap(void *unused)
{
	volatile unsigned *now = &((struct sockaddr_in *)&target.addr)->sin_addr.s_addr;

	(void)unused;
	for (unsigned turn = 0; !is_over; turn++)
		*now = addresses[turn & 1].s_addr;
	return NULL;
}

static int try_connect(const char *token)
{
	int fd = bounded_socket(AF_INET, SOCK_STREAM, 0);
	int err = connect(fd, (void *)&target.addr, target.len) ? errno : say(fd, token);

	close(fd);
	return err;
}

int main(int argc, char **argv)
{
	unsigned sent = 0, refused = 0;
	struct target other;
	pthread_t thread;
	int fd, err;

	if (argc != 5 || parse_target(&target, argv[1], argv[3], argv[4]) || parse_target(&other, argv[2], argv[3], argv[4]))
		return 2;
	addresses[0] = ((struct sockaddr_in *)&target.addr)->sin_addr;
	addresses[1] = ((struct sockaddr_in *)&other.addr)->sin_addr;
	if (pthread_create(&thread, NULL, swap, NULL))
		return 1;
	fd = bounded_socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0; i < TRIES; i++) {
		if (i % CONNECT_EVERY)
			err = sendto(fd, argv[4], strlen(argv[4]), 0, (void *)&target.addr, target.len) < 0 ? errno : 0;
		else
			err = try_connect(argv[4]);
		sent += !err;
		refused += err == EPERM;
	}
	is_over = 1;
	pthread_join(thread, NULL);
	printf("%u %u\n", sent, refused);
	return 0;
}
