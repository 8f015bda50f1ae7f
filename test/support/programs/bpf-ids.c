// SPDX-License-Identifier: Apache-2.0
/* Which of the BPF programs with these ids the kernel still has: one line each. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		union bpf_attr attr = {.prog_id = (__u32)atoi(argv[i])};
		long fd = syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));

		if (fd >= 0) {
			puts(argv[i]);
			close((int)fd);
		} else if (errno != ENOENT) {
			perror("bpf");
			return 1;
		}
	}
	return 0;
}
