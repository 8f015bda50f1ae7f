// SPDX-License-Identifier: Apache-2.0
/*
 * Has the 32-bit entry of a 64-bit process make a socket that no sandbox must have, while another thread writes something harmless over
 * what was asked for: `reach_twisted call|memory`. Prints 0 if it lives.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <pthread.h>
#include <sys/mman.h>

#define TRIES 2000
#define SYS_SOCKET_NARROW 359
#define SYS_SOCKETCALL_NARROW 102

static unsigned *args;
static volatile int is_over;

static long narrow(long number, long one, long two, long three)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(number), "b"(one), "c"(two), "d"(three)
			 : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static void *overwrite(void *unused)
{
	(void)unused;
	while (!is_over) {
		*(volatile unsigned *)&args[0] = AF_PACKET;
		*(volatile unsigned *)&args[0] = AF_INET;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 2)
		return 2;
	args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	args[0] = AF_PACKET;
	args[1] = SOCK_DGRAM;
	args[2] = 0;
	if (!strcmp(argv[1], "call")) {
		if (narrow(SYS_SOCKET_NARROW, AF_PACKET, SOCK_DGRAM, 0) == -ENOSYS) {
			printf("%d\n", NOT_HERE);
			return 0;
		}
	} else {
		if (pthread_create(&thread, NULL, overwrite, NULL))
			return 2;
		for (int i = 0; i < TRIES; i++) {
			long fd = narrow(SYS_SOCKETCALL_NARROW, 1, (long)args, 0);

			if (fd == -ENOSYS) {
				printf("%d\n", NOT_HERE);
				return 0;
			}
			if (fd >= 0)
				close((int)fd);
		}
		is_over = 1;
		pthread_join(thread, NULL);
	}
	printf("0\n");
	return 0;
}
