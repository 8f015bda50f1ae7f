// SPDX-License-Identifier: Apache-2.0
/* Reads its standard input, a socket, through the 32-bit entry of a 64-bit process: by read, by readv and by socketcall, 100 bytes each. */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define READ 3
#define SOCKETCALL 102
#define READV 145
#define SYS_RECV 10
#define BYTES 100

struct low {
	char buffer[BYTES];
	uint32_t vectors[4];
	uint32_t args[4];
};

static long compat_call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

int main(void)
{
	struct low *low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint32_t at = (uint32_t)(uintptr_t)low->buffer;

	if (low == MAP_FAILED || compat_call(READ, 0, at, BYTES) != BYTES)
		return 1;
	memcpy(low->vectors, (uint32_t[]){at, 30, at + 30, 70}, sizeof(low->vectors));
	if (compat_call(READV, 0, (uint32_t)(uintptr_t)low->vectors, 2) != BYTES)
		return 2;
	memcpy(low->args, (uint32_t[]){0, at, BYTES, 0}, sizeof(low->args));
	return compat_call(SOCKETCALL, SYS_RECV, (uint32_t)(uintptr_t)low->args, 0) == BYTES ? 0 : 3;
}
