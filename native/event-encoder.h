/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a ring record (bpf/event_abi.h) to one `events` field of an EventBatch (proto/sluice/v1/sensor.proto). A pure function: it
 * knows no ring, allocates nothing, and believes no length that the record states about itself before it has checked it.
 */
#ifndef SLUICE_EVENT_ENCODER_H
#define SLUICE_EVENT_ENCODER_H

#include <cstddef>
#include <cstdint>

#include "abi.h"

/*
 * What the encoding of a record can need beyond its byte strings. The worst is an exec: 14 common fields in at most 117 bytes, its
 * own 14 in at most 100 with the lengths of the strings, and 12 for the two messages around them. The rest is what the encoder may
 * scribble over behind the end (10 bytes at most).
 */
inline constexpr size_t ENCODED_OVERHEAD_MAX = 256;

/* Upper bound of one encoded event: an exec with four longest paths, the longest interpreter and argv. */
inline constexpr size_t ENCODED_EVENT_MAX = 4 * SL_PATH_MAX + SL_INTERPRETER_MAX + SL_ARGS_MAX + ENCODED_OVERHEAD_MAX;

struct EncodedEvent {
	size_t bytes; /* written, or the room needed to be sure that it fits; 0 = the record is malformed */
	bool fits;
	uint64_t time_ns;
	uint64_t happened; /* how many calls the record tells of: one, or as many as it stands for */
};

/*
 * Encodes the record of `record_size` bytes into `out`; where `room` is less than its byte strings and ENCODED_OVERHEAD_MAX it writes
 * nothing and says what it needs. May write anything into the room behind the event.
 */
EncodedEvent encode_event(const uint8_t *record, size_t record_size, uint8_t *out, size_t room);

#endif
