/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer of one BPF ring buffer, on its own mapping of the ring (Documentation/bpf/ringbuf.rst). Not libbpf's consumer, which
 * can only be stopped after a record that it has already taken, so that a record that doesn't fit would have to be kept somewhere.
 */
#ifndef SLUICE_RING_READER_H
#define SLUICE_RING_READER_H

#include <napi.h>

/* openRing(object, map) */
Napi::Value ring_open(const Napi::CallbackInfo &info);

#endif
