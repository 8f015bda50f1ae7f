/* SPDX-License-Identifier: Apache-2.0 */
/* Programs whose hook this kernel does not have are left out, as the addon does (native/late-hooks.cc). */
#ifndef SLUICE_TEST_LATE_HOOKS_H
#define SLUICE_TEST_LATE_HOOKS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#define BPF_CGROUP_UNIX_CONNECT_TYPE 49 /* since Linux 6.7 */

/* Asks the kernel, by a program that lets everything through and is attached nowhere. */
static int has_unix_hooks(void)
{
	/* r0 = 1; exit */
	const struct bpf_insn steps[] = {
		{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	DECLARE_LIBBPF_OPTS(bpf_prog_load_opts, options,
			    .expected_attach_type = (enum bpf_attach_type)BPF_CGROUP_UNIX_CONNECT_TYPE);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "sl_try", "Dual BSD/GPL", steps, 2, &options);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void leave_out_late_hooks(struct bpf_object *object)
{
	static const char *const late[] = {"sl_connect_unix", "sl_sendmsg_unix"};
	struct bpf_program *program;

	if (has_unix_hooks())
		return;
	for (unsigned int at = 0; at < sizeof(late) / sizeof(*late); at++) {
		program = bpf_object__find_program_by_name(object, late[at]);
		if (program)
			bpf_program__set_autoload(program, false);
	}
}

#endif
