/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets in another network namespace, and descriptors from one process of ours to another: `netnsCookie()`, `openDoors(fd)`,
 * `sendFds(path, text, fds)` and `openMailbox(path)`, the end where those arrive.
 */
#ifndef SLUICE_DOORS_H
#define SLUICE_DOORS_H

#include <napi.h>

Napi::Value netns_cookie(const Napi::CallbackInfo &info);
Napi::Value doors_open(const Napi::CallbackInfo &info);
Napi::Value fds_send(const Napi::CallbackInfo &info);
Napi::Value mailbox_open(const Napi::CallbackInfo &info);

#endif
