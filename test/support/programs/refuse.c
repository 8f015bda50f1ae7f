// SPDX-License-Identifier: Apache-2.0
/* A cgroup program that refuses everybody, attached until its cgroup is removed: refuse CGROUP
 * connect4|connect6|sendmsg4|sendmsg6|ingress */
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	uint32_t type;
} TYPES[] = {
	{"connect4", BPF_CGROUP_INET4_CONNECT},
	{"connect6", BPF_CGROUP_INET6_CONNECT},
	{"sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
	{"sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
	{"ingress", BPF_CGROUP_INET_INGRESS},
};

int main(int argc, char **argv)
{
	struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0}, {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr attr;
	uint32_t type = UINT32_MAX;
	int fd, cgroup;

	for (unsigned int i = 0; argc == 3 && i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
		if (!strcmp(TYPES[i].name, argv[2]))
			type = TYPES[i].type;
	}
	if (type == UINT32_MAX)
		return 2;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type == BPF_CGROUP_INET_INGRESS ? BPF_PROG_TYPE_CGROUP_SKB : BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
	attr.expected_attach_type = type;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = 2;
	attr.license = (uintptr_t) "GPL";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	cgroup = open(argv[1], O_RDONLY | O_DIRECTORY);
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = cgroup;
	attr.attach_bpf_fd = fd;
	attr.attach_type = type;
	if (fd < 0 || cgroup < 0 || syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr))) {
		perror("refuse");
		return 1;
	}
	return 0;
}
