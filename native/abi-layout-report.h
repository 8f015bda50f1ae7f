/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of the shared structs, from two witnesses: abiLayout() asks this compiler, btfLayout(object) asks the object. */
#ifndef SLUICE_ABI_LAYOUT_REPORT_H
#define SLUICE_ABI_LAYOUT_REPORT_H

#include <napi.h>

Napi::Value abi_layout(const Napi::CallbackInfo &info);

/* Structs that the object does not use are not in its BTF, and left out. */
Napi::Value btf_layout(const Napi::CallbackInfo &info);

#endif
