/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cgroup's programs do to a task in it, found out by one: a child joins the cgroup, sends an empty datagram to loopback by a UDP
 * socket, and connects it. Nobody else hears of it.
 */
#ifndef SLUICE_PROBE_H
#define SLUICE_PROBE_H

#include <napi.h>

/* probeReach(cgroup, family) */
Napi::Value probe_reach(const Napi::CallbackInfo &info);

#endif
