/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_CLOCK_H
#define SLUICE_CLOCK_H

#include <cstdint>

/* CLOCK_BOOTTIME in ns. */
uint64_t boot_time_ns();

/* Unix time minus CLOCK_BOOTTIME in ns, from the tightest of several readings. */
int64_t boot_to_unix_ns();

#endif
