/* SPDX-License-Identifier: Apache-2.0 */
/* What a ring's record is made of, by its kind: the fixed part, the byte strings behind it, and the field of KernelEvent that it becomes. */
#ifndef SLUICE_RECORD_SHAPE_H
#define SLUICE_RECORD_SHAPE_H

#include <cstddef>
#include <cstdint>

#include "abi.h"

union Fixed {
	struct sl_event_hdr hdr;
	struct sl_exec exec;
	struct sl_fork fork;
	struct sl_exit exit;
	struct sl_file_open file_open;
	struct sl_connect connect;
	struct sl_closed closed;
	struct sl_exec_failed exec_failed;
	struct sl_file_change file_change;
	struct sl_stdin input;
	struct sl_cgroup cgroup;
	struct sl_quarantine quarantine;
	struct sl_dns dns;
};

struct Shape {
	size_t fixed; /* bytes before `data`; 0 = no such kind */
	uint32_t field; /* of the facts in KernelEvent */
};

Shape shape_of(uint16_t kind);

/* Bytes of `data` that the record's own lengths add up to, or false where one is beyond what a record can carry. */
bool data_size(const Fixed &fixed, size_t *ret_size);

#endif
