// SPDX-License-Identifier: Apache-2.0
/*
 * Sends without a connect, to loopback: `sends many PORT` (one sendmmsg to 1,024 places), `sends stops PORT` (a sendmmsg that fails at
 * its third message), `sends storm PORT THREADS` (each thread 10,000 to one place and 10 to others), `sends int80 PORT` (by the 32-bit
 * entry), `sends unix PATH` (a sendmmsg of three to a Unix socket). Prints what the calls returned.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MANY 1024
#define STORM 10000

/* arch/x86/entry/syscalls/syscall_32.tbl and include/uapi/linux/net.h */
enum { SOCKETCALL = 102, SENDMMSG = 345, BIND = 361, LISTEN = 363, SENDTO = 369, SENDMSG = 370 };
enum { SYS_SENDTO = 11, SYS_SENDMSG = 16 };

static int port;

static struct sockaddr_in place(unsigned int host)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host);
	return address;
}

static int many(int fd)
{
	static struct sockaddr_in places[MANY];
	static struct mmsghdr messages[MANY];
	struct iovec byte = {"x", 1};

	for (int i = 0; i < MANY; i++) {
		places[i] = place(i);
		messages[i].msg_hdr = (struct msghdr){&places[i], sizeof(places[i]), &byte, 1, NULL, 0, 0};
	}
	return sendmmsg(fd, messages, MANY, 0);
}

/* The broadcast address is refused to a socket that did not ask for it, behind the hook. */
static int stops(int fd)
{
	struct sockaddr_in places[4] = {place(0), place(0), place(0), place(1)};
	struct mmsghdr messages[4] = {};
	struct iovec byte = {"x", 1};

	places[2].sin_addr.s_addr = INADDR_BROADCAST;
	for (int i = 0; i < 4; i++)
		messages[i].msg_hdr = (struct msghdr){&places[i], sizeof(places[i]), &byte, 1, NULL, 0, 0};
	return sendmmsg(fd, messages, 4, 0);
}

static void *storm(void *unused)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	for (int i = 0; i < STORM; i++) {
		struct sockaddr_in address = place(i % 1000 ? 0 : 1 + i / 1000);

		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)) != 1)
			exit(3);
	}
	return unused;
}

static void storms(int threads)
{
	pthread_t each[64];

	for (int i = 0; i < threads && i < 64; i++)
		pthread_create(&each[i], NULL, storm, NULL);
	for (int i = 0; i < threads && i < 64; i++)
		pthread_join(each[i], NULL);
}

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;

	__asm__ volatile("push %%rbp; mov %7, %%rbp; int $0x80; pop %%rbp"
			 : "=a"(ret)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "r"(f)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

static void int80(int fd)
{
	/* Pointers must fit 32 bits. */
	unsigned int *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned int *args = low + 256, *message = low + 512, *vector = low + 768;
	struct sockaddr_in *address = (void *)low;
	int stream = socket(AF_INET, SOCK_STREAM, 0);

	vector[0] = (unsigned long)(low + 900);
	vector[1] = 1;
	message[0] = (unsigned long)address; /* struct compat_msghdr */
	message[1] = sizeof(*address);
	message[2] = (unsigned long)vector;
	message[3] = 1;
	*address = place(1);
	printf("%ld", call(SENDTO, fd, (long)low, 1, 0, (long)address, sizeof(*address)));
	*address = place(2);
	printf(" %ld", call(SENDMSG, fd, (long)message, 0, 0, 0, 0));
	*address = place(3);
	printf(" %ld", call(SENDMMSG, fd, (long)message, 1, 0, 0, 0));
	*address = place(4);
	args[0] = fd;
	args[1] = (unsigned long)low;
	args[2] = 1;
	args[3] = 0;
	args[4] = (unsigned long)address;
	args[5] = sizeof(*address);
	printf(" %ld", call(SOCKETCALL, SYS_SENDTO, (long)args, 0, 0, 0, 0));
	*address = place(5);
	args[1] = (unsigned long)message;
	args[2] = 0;
	printf(" %ld", call(SOCKETCALL, SYS_SENDMSG, (long)args, 0, 0, 0, 0));
	*address = place(0);
	printf(" %ld", call(BIND, stream, (long)address, sizeof(*address), 0, 0, 0));
	printf(" %ld\n", call(LISTEN, stream, 1, 0, 0, 0, 0));
}

static int to_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct mmsghdr messages[3] = {};
	struct iovec byte = {"x", 1};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	for (int i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){&address, sizeof(address), &byte, 1, NULL, 0, 0};
	return sendmmsg(fd, messages, 3, 0);
}

int main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 3)
		return 2;
	port = atoi(argv[2]);
	if (!strcmp(argv[1], "many"))
		printf("%d\n", many(fd));
	else if (!strcmp(argv[1], "stops"))
		printf("%d\n", stops(fd));
	else if (!strcmp(argv[1], "storm"))
		storms(atoi(argv[3]));
	else if (!strcmp(argv[1], "int80"))
		int80(fd);
	else if (!strcmp(argv[1], "unix"))
		printf("%d\n", to_unix(argv[2]));
	return 0;
}
