// SPDX-License-Identifier: Apache-2.0
#include "embedded.h"

extern "C" {
extern const unsigned char sluice_object_core_start[];
extern const unsigned char sluice_object_core_end[];
extern const unsigned char sluice_object_uring_start[];
extern const unsigned char sluice_object_uring_end[];
extern const unsigned char sluice_object_walk_start[];
extern const unsigned char sluice_object_walk_end[];
}

const EmbeddedObject *embedded_objects()
{
	static const EmbeddedObject objects[EMBEDDED_COUNT] = {
		{"core", sluice_object_core_start, sluice_object_core_end},
		{"uring", sluice_object_uring_start, sluice_object_uring_end},
		{"walk", sluice_object_walk_start, sluice_object_walk_end},
	};

	return objects;
}

const EmbeddedObject *find_embedded(const std::string &name)
{
	const EmbeddedObject *objects = embedded_objects();

	for (size_t i = 0; i < EMBEDDED_COUNT; i++) {
		if (name == objects[i].name)
			return &objects[i];
	}
	return nullptr;
}
