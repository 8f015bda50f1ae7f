// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The core object as it is, on a kernel that has no memory left for ids: the two helpers that store one fail when the test says so.
 */
#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"

#define FAIL_STORAGE 1
#define FAIL_PLACE 2

/* Written by the test. */
volatile __u32 forget = 0;

/* A macro does not expand itself: inside it is the helper. */
#define bpf_task_storage_get(map, task, value, flags) \
	((flags) && (forget & FAIL_STORAGE) ? NULL : bpf_task_storage_get(map, task, value, flags))
#define bpf_map_update_elem(map, key, value, flags) \
	((void *)(map) == (void *)&sl_connects && (forget & FAIL_PLACE) ? -12 : bpf_map_update_elem(map, key, value, flags))

#include "core.bpf.c"
