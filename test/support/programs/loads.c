// SPDX-License-Identifier: Apache-2.0
/*
 * Loads an object as it would be on a kernel whose types are those of a file: `loads OBJECT BTF`. What the object chooses by the
 * kernel's types (helpers, layouts) it chooses by the file's; the kernel that verifies it is this one. Prints a line `program
 * instructions` for each program, as many as were verified, or nothing and the end of the verifier's message.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>

#include "late_hooks.h"

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int main(int argc, char **argv)
{
	DECLARE_LIBBPF_OPTS(bpf_object_open_opts, options, .btf_custom_path = argc == 3 ? argv[2] : NULL);
	struct bpf_object *object = argc == 3 ? bpf_object__open_file(argv[1], &options) : NULL;
	struct bpf_program *program;

	libbpf_set_print(print);
	if (object)
		leave_out_late_hooks(object);
	if (!object || bpf_object__load(object))
		return 1;
	bpf_object__for_each_program (program, object) {
		struct bpf_prog_info info = {0};
		__u32 size = sizeof(info);

		if (!bpf_program__autoload(program))
			continue;
		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
			return 1;
		printf("%s %u\n", bpf_program__name(program), info.verified_insns);
	}
	return 0;
}
