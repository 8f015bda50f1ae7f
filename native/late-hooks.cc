// SPDX-License-Identifier: Apache-2.0
#include "late-hooks.h"

#include <cstdint>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

namespace
{
/* Hooks for addresses that libbpf 1.1 knows no section for, and that not every kernel of ours has. */
struct LateHook {
	const char *program;
	uint32_t attach_type; /* enum bpf_attach_type of include/uapi/linux/bpf.h */
};

constexpr LateHook LATE_HOOKS[] = {
	{"sl_connect_unix", 49}, /* BPF_CGROUP_UNIX_CONNECT, since Linux 6.7 */
	{"sl_sendmsg_unix", 50}, /* BPF_CGROUP_UNIX_SENDMSG, since Linux 6.7 */
};

/* Asks the kernel, by a program that lets everything through and is attached nowhere. */
bool has_hook(enum bpf_attach_type type)
{
	/* r0 = 1; exit */
	const struct bpf_insn steps[] = {
		{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};

	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = type);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "sl_try", "Dual BSD/GPL", steps, 2, &options);

	if (fd < 0)
		return false;
	::close(fd);
	return true;
}
} // namespace

std::vector<std::string> set_late_hooks(struct bpf_object *object)
{
	std::vector<std::string> missing;

	for (const LateHook &late : LATE_HOOKS) {
		struct bpf_program *program = bpf_object__find_program_by_name(object, late.program);
		auto type = static_cast<enum bpf_attach_type>(late.attach_type);

		if (!program)
			continue;
		bpf_program__set_expected_attach_type(program, type);
		if (has_hook(type))
			continue;
		bpf_program__set_autoload(program, false);
		missing.emplace_back(late.program);
	}
	return missing;
}
