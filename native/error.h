/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one kind of error that the addon throws (`NativeError` of src/native/addon.ts). Each function leaves an exception pending and
 * returns `undefined`, so that a caller writes `return throw_x(…)`.
 */
#ifndef SLUICE_ERROR_H
#define SLUICE_ERROR_H

#include <string>

#include <napi.h>

/* `argument` is wrong; `problem` completes the sentence "<argument> …". */
Napi::Value throw_argument(Napi::Env env, const std::string &argument, const std::string &problem);

/* `what` was used after its close. */
Napi::Value throw_closed(Napi::Env env, const std::string &what);

/* A system call failed with the positive errno `err`; `doing` is what was attempted, `argument` what with. */
Napi::Value throw_syscall(Napi::Env env, const std::string &doing, const std::string &argument, int err);

/* The same for libbpf and the bpf system call; `detail` (may be empty) is what libbpf or the verifier said, put last. */
Napi::Value throw_bpf(Napi::Env env, const std::string &doing, const std::string &argument, int err,
		      const std::string &detail = "");

#endif
