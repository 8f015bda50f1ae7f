/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Steps along a list or a tree of the kernel's, as many as there are. With bpf_loop (Linux 5.17) the verifier goes through the step once
 * and not once a round; before, a loop is short.
 */
#ifndef SLUICE_LOOP_BPF_H
#define SLUICE_LOOP_BPF_H

#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/* Calls `step(round, context)` until it returns 1, `most` times at most; `few` times without bpf_loop. */
#define LOOP(most, few, step, context)                                             \
	({                                                                         \
		if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) { \
			bpf_loop(most, step, context, 0);                          \
		} else {                                                           \
			for (__u32 round = 0; round < (few); round++)              \
				if (step(round, context))                          \
					break;                                     \
		}                                                                  \
	})

#endif
