// SPDX-License-Identifier: Apache-2.0
/*
 * Puts letters into its terminal's input, as if they were typed: one by an ordinary call and one by the 32-bit entry. Prints what came of
 * each, and of an ioctl that does no harm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define NARROW_IOCTL 54

static int narrow(long fd, long request, long argument)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(NARROW_IOCTL), "b"(fd), "c"(request), "d"(argument)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

int main(void)
{
	/* A pointer that fits 32 bits. */
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct winsize size;

	if (low == MAP_FAILED)
		return 2;
	low[0] = 'a';
	printf("native=%d ", ioctl(0, TIOCSTI, low) ? errno : 0);
	/* The kernel looks at 32 bits of the request only. */
	printf("wide=%d ", ioctl(0, 0x100000000ul | TIOCSTI, low) ? errno : 0);
	printf("narrow=%d ", -narrow(0, TIOCSTI, (long)low));
	printf("size=%d\n", ioctl(0, TIOCGWINSZ, &size) ? errno : 0);
	return 0;
}
