/* SPDX-License-Identifier: Apache-2.0 */
/* Ending TCP connections of others, in any network namespace. */
#ifndef SLUICE_RESET_H
#define SLUICE_RESET_H

#include <napi.h>

Napi::Value reset_connections(const Napi::CallbackInfo &info);

#endif
