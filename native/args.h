/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading arguments: type and range are checked here, so that nothing behind it sees a value it can't use. Each reader fills its
 * `ret_` output and returns true, or leaves EINVAL_ARGUMENT pending and returns false. Only arg_flag runs foreign JavaScript (a
 * getter), so it must be read before anything native is looked up.
 */
#ifndef SLUICE_ARGS_H
#define SLUICE_ARGS_H

#include <cstddef>
#include <cstdint>
#include <string>

#include <napi.h>

struct Bytes {
	uint8_t *data;
	size_t size;
};

/* A string of 1 to `max` bytes of UTF-8 without NUL. */
bool arg_string(const Napi::CallbackInfo &info, size_t index, const char *name, size_t max, std::string *ret_value);

/* An absolute path below PATH_MAX. */
bool arg_path(const Napi::CallbackInfo &info, size_t index, const char *name, std::string *ret_path);

/* An integer of `min` to `max`; both within what a double holds exactly. */
bool arg_integer(const Napi::CallbackInfo &info, size_t index, const char *name, int64_t min, int64_t max, int64_t *ret_value);

bool arg_boolean(const Napi::CallbackInfo &info, size_t index, const char *name, bool *ret_value);

/* A Uint8Array or Buffer of any length; valid until the next call into JavaScript. */
bool arg_bytes(const Napi::CallbackInfo &info, size_t index, const char *name, Bytes *ret_bytes);

bool arg_function(const Napi::CallbackInfo &info, size_t index, const char *name, Napi::Function *ret_function);

/* The boolean property `flag` of the options object at `index`. */
bool arg_flag(const Napi::CallbackInfo &info, size_t index, const char *name, const char *flag, bool *ret_value);

#endif
