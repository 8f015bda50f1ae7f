/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets: `peer(fd)`, who is at the other end, as recorded at connect, and whether that process lives; `sendDatagram(path, text)`,
 * which Node has no call for.
 */
#ifndef SLUICE_SOCKET_H
#define SLUICE_SOCKET_H

#include <napi.h>

Napi::Value socket_peer(const Napi::CallbackInfo &info);
Napi::Value socket_send_datagram(const Napi::CallbackInfo &info);

#endif
