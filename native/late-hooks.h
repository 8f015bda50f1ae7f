/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks that the libbpf in use knows no section for, and that a kernel may be without: which program is for which, asked and told. */
#ifndef SLUICE_LATE_HOOKS_H
#define SLUICE_LATE_HOOKS_H

#include <string>
#include <vector>

#include <bpf/libbpf.h>

/* Before the object is loaded. A program whose hook this kernel does not have is left out of it; these are returned by name. */
std::vector<std::string> set_late_hooks(struct bpf_object *object);

#endif
