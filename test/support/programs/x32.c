// SPDX-License-Identifier: Apache-2.0
/* Opens and executes by x32 system calls from a 64-bit process: `x32 FILE`. Prints the errno of each; ENOSYS where the kernel has no x32. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* arch/x86/entry/syscalls/syscall_64.tbl: those of `common` with bit 30, and some of their own from 512 on */
enum { X32 = 0x40000000, OPEN = X32 + 2, EXECVE = X32 + 520, EXECVE_64 = X32 + 59 };

static int error_of(long ret)
{
	return ret < 0 ? errno : 0;
}

int main(int argc, char **argv)
{
	/* Pointers must fit 32 bits, those in arrays too. */
	char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint32_t *args = (void *)(low + 4096);

	if (argc != 2 || low == MAP_FAILED)
		return 2;
	strcpy(low, argv[1]);
	printf("%d ", error_of(syscall(OPEN, low, O_RDONLY, 0)));
	strcpy(low + 4200, "/bin/none");
	args[0] = (uint32_t)(uintptr_t)(low + 4200);
	printf("%d ", error_of(syscall(EXECVE, low + 4200, args, args + 1)));
	printf("%d\n", error_of(syscall(EXECVE_64, low + 4200, args, args + 1)));
	return 0;
}
