/* SPDX-License-Identifier: Apache-2.0 */
/* Where pins live, the BPF file system, and waiting until no program runs that ran before. What is pinned: object-pins.cc. */
#ifndef SLUICE_PINS_H
#define SLUICE_PINS_H

#include <napi.h>

/* isBpfFs(path) */
Napi::Value is_bpf_fs(const Napi::CallbackInfo &info);

/* mountBpfFs(path) */
Napi::Value mount_bpf_fs(const Napi::CallbackInfo &info);

/* waitForPrograms() */
Napi::Value wait_for_programs(const Napi::CallbackInfo &info);

#endif
