/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One embedded BPF object: opened, loaded, its programs attached, its maps read and written, all through libbpf. Which programs,
 * where and in which order is TypeScript's to say.
 */
#ifndef SLUICE_OBJECT_H
#define SLUICE_OBJECT_H

#include <cstddef>
#include <string>

#include <napi.h>

/* Longest name of an object, program or map that is looked up. */
inline constexpr size_t OBJECT_NAME_MAX = 128;

/* A ring buffer map of a loaded object; the fd is the object's. */
struct RingMap {
	int fd;
	size_t size;
};

/* openObject(name) */
Napi::Value object_open(const Napi::CallbackInfo &info);

class ObjectHandle;

/* The object that is argument `index`, open or not. Null leaves an exception pending. */
ObjectHandle *object_handle(const Napi::CallbackInfo &info, size_t index);

/* Finds ring `map` in the object that is argument `index`. False leaves an exception pending. */
bool object_ring(const Napi::CallbackInfo &info, size_t index, const std::string &map, RingMap *ret_ring);

#endif
