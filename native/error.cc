// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <cstring>

static Napi::Value throw_native(Napi::Env env, const char *code, const std::string &message, const std::string &argument, int err)
{
	Napi::Error error = Napi::Error::New(env, message);

	error.Set("code", Napi::String::New(env, code));
	error.Set("errno", Napi::Number::New(env, err));
	error.Set("argument", Napi::String::New(env, argument));
	error.ThrowAsJavaScriptException();
	return env.Undefined();
}

Napi::Value throw_argument(Napi::Env env, const std::string &argument, const std::string &problem)
{
	return throw_native(env, "EINVAL_ARGUMENT", argument + " " + problem, argument, EINVAL);
}

Napi::Value throw_closed(Napi::Env env, const std::string &what)
{
	return throw_native(env, "ECLOSED", what + " is closed", what, 0);
}

Napi::Value throw_syscall(Napi::Env env, const std::string &doing, const std::string &argument, int err)
{
	return throw_native(env, "ESYSCALL", doing + " " + argument + ": " + strerror(err), argument, err);
}

Napi::Value throw_bpf(Napi::Env env, const std::string &doing, const std::string &argument, int err, const std::string &detail)
{
	std::string message = doing + " " + argument + ": " + strerror(err);

	if (!detail.empty())
		message += "\n" + detail;
	return throw_native(env, "EBPF", message, argument, err);
}
