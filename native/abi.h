/* SPDX-License-Identifier: Apache-2.0 */
/* The headers shared with bpf/, made readable to a C++ compiler. Include these nowhere else in native/. */
#ifndef SLUICE_NATIVE_ABI_H
#define SLUICE_NATIVE_ABI_H

#include <linux/types.h>

#ifdef __cplusplus
#define _Static_assert static_assert
extern "C" {
#endif

#include "../bpf/event_abi.h"
#include "../bpf/map_abi.h"
#include "../bpf/policy_abi.h"
#include "../bpf/redirect_abi.h"
#include "../bpf/limit_abi.h"

#ifdef __cplusplus
}
#undef _Static_assert
#endif

#endif
