// SPDX-License-Identifier: Apache-2.0
#include "clock.h"

#include <time.h>

/* Readings to choose from; a reading that was interrupted has a wide window and loses. */
static constexpr int READINGS = 32;

static int64_t now_ns(clockid_t clock)
{
	struct timespec now = {};

	/* Can't fail: both clocks exist since Linux 2.6.39. */
	clock_gettime(clock, &now);
	return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

uint64_t boot_time_ns()
{
	return static_cast<uint64_t>(now_ns(CLOCK_BOOTTIME));
}

int64_t boot_to_unix_ns()
{
	int64_t best_window = INT64_MAX;
	int64_t offset = 0;

	for (int i = 0; i < READINGS; i++) {
		int64_t before = now_ns(CLOCK_BOOTTIME);
		int64_t unix_now = now_ns(CLOCK_REALTIME);
		int64_t window = now_ns(CLOCK_BOOTTIME) - before;

		if (window >= best_window)
			continue;
		best_window = window;
		offset = unix_now - (before + window / 2);
	}
	return offset;
}
