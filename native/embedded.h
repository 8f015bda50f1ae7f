/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF objects that the build put into the addon (embed.S). */
#ifndef SLUICE_EMBEDDED_H
#define SLUICE_EMBEDDED_H

#include <cstddef>
#include <string>

struct EmbeddedObject {
	const char *name;
	const unsigned char *start;
	const unsigned char *end;
};

inline constexpr size_t EMBEDDED_COUNT = 3;

/* The table, EMBEDDED_COUNT entries long. */
const EmbeddedObject *embedded_objects();

/* Null if there is no such object. */
const EmbeddedObject *find_embedded(const std::string &name);

#endif
