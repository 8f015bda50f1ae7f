// SPDX-License-Identifier: Apache-2.0
/* Opens, makes, renames, removes and connects through the 32-bit entry of a 64-bit process: `int80 FOLDER PORT`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* arch/x86/entry/syscalls/syscall_32.tbl */
enum { OPEN = 5, UNLINK = 10, EXECVE = 11, RENAME = 38, MKDIR = 39, RMDIR = 40, SOCKETCALL = 102, SOCKET = 359, CONNECT = 362 };

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

int main(int argc, char **argv)
{
	/* Pointers must fit 32 bits. */
	char *low = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct sockaddr_in *address = (void *)(low + 12288);
	unsigned int *args = (void *)(low + 14336);
	char *old_name = low, *new_name = low + 4096, *dir = low + 8192;
	long fd, first, second;

	if (argc != 3 || low == MAP_FAILED)
		return 2;
	snprintf(old_name, 4096, "%s/old", argv[1]);
	snprintf(new_name, 4096, "%s/new", argv[1]);
	snprintf(dir, 4096, "%s/dir", argv[1]);
	fd = call(OPEN, (long)old_name, 0101 /* O_WRONLY | O_CREAT */, 0600);
	if (fd == -ENOSYS)
		return 77; /* no 32-bit entry in this kernel */
	close(fd);
	call(RENAME, (long)old_name, (long)new_name, 0);
	call(UNLINK, (long)new_name, 0, 0);
	call(MKDIR, (long)dir, 0700, 0);
	call(RMDIR, (long)dir, 0, 0);
	call(EXECVE, (long)dir, 0, 0);
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	first = call(CONNECT, call(SOCKET, AF_INET, SOCK_STREAM, 0), (long)address, sizeof(*address));
	args[0] = socket(AF_INET, SOCK_STREAM, 0);
	args[1] = (unsigned int)(long)address;
	args[2] = sizeof(*address);
	second = call(SOCKETCALL, 3 /* SYS_CONNECT */, (long)args, 0);
	printf("%ld %ld\n", -first, -second);
	return 0;
}
