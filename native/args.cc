// SPDX-License-Identifier: Apache-2.0
#include "args.h"

#include <climits>
#include <cmath>

#include "error.h"

static bool refuse(const Napi::CallbackInfo &info, const std::string &name, const std::string &problem)
{
	throw_argument(info.Env(), name, problem);
	return false;
}

bool arg_string(const Napi::CallbackInfo &info, size_t index, const char *name, size_t max, std::string *ret_value)
{
	size_t length = 0;

	if (!info[index].IsString())
		return refuse(info, name, "must be a string");
	/* The length first: a string of half a gigabyte is refused without being copied. */
	if (napi_get_value_string_utf8(info.Env(), info[index], nullptr, 0, &length) != napi_ok)
		return refuse(info, name, "must be a string");
	if (length == 0 || length > max)
		return refuse(info, name, "must be 1 to " + std::to_string(max) + " bytes long");
	*ret_value = info[index].As<Napi::String>().Utf8Value();
	if (ret_value->find('\0') != std::string::npos)
		return refuse(info, name, "must not contain a NUL");
	return true;
}

bool arg_path(const Napi::CallbackInfo &info, size_t index, const char *name, std::string *ret_path)
{
	if (!arg_string(info, index, name, PATH_MAX - 1, ret_path))
		return false;
	if (ret_path->front() != '/')
		return refuse(info, name, "must be an absolute path");
	return true;
}

bool arg_integer(const Napi::CallbackInfo &info, size_t index, const char *name, int64_t min, int64_t max, int64_t *ret_value)
{
	double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : NAN;

	/* Written so that NaN fails it. */
	if (!(value >= static_cast<double>(min) && value <= static_cast<double>(max)) || value != std::trunc(value))
		return refuse(info, name, "must be an integer of " + std::to_string(min) + " to " + std::to_string(max));
	*ret_value = static_cast<int64_t>(value);
	return true;
}

bool arg_boolean(const Napi::CallbackInfo &info, size_t index, const char *name, bool *ret_value)
{
	if (!info[index].IsBoolean())
		return refuse(info, name, "must be true or false");
	*ret_value = info[index].As<Napi::Boolean>().Value();
	return true;
}

bool arg_bytes(const Napi::CallbackInfo &info, size_t index, const char *name, Bytes *ret_bytes)
{
	napi_typedarray_type type;
	void *data = nullptr;
	size_t length = 0;

	if (!info[index].IsTypedArray() ||
	    napi_get_typedarray_info(info.Env(), info[index], &type, &length, &data, nullptr, nullptr) != napi_ok ||
	    (type != napi_uint8_array && type != napi_uint8_clamped_array))
		return refuse(info, name, "must be a Uint8Array");
	*ret_bytes = {static_cast<uint8_t *>(data), data ? length : 0};
	return true;
}

bool arg_function(const Napi::CallbackInfo &info, size_t index, const char *name, Napi::Function *ret_function)
{
	if (!info[index].IsFunction())
		return refuse(info, name, "must be a function");
	*ret_function = info[index].As<Napi::Function>();
	return true;
}

bool arg_flag(const Napi::CallbackInfo &info, size_t index, const char *name, const char *flag, bool *ret_value)
{
	napi_value value;

	if (!info[index].IsObject())
		return refuse(info, name, "must be an object");
	if (napi_get_named_property(info.Env(), info[index], flag, &value) != napi_ok) {
		/* A getter threw: its exception is the answer. */
		if (!info.Env().IsExceptionPending())
			refuse(info, name, "could not be read");
		return false;
	}
	if (!Napi::Value(info.Env(), value).IsBoolean())
		return refuse(info, std::string(name) + "." + flag, "must be true or false");
	*ret_value = Napi::Boolean(info.Env(), value).Value();
	return true;
}
