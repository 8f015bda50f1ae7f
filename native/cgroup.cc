// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <climits>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "args.h"
#include "cgroup-files.h"
#include "env-state.h"
#include "error.h"

/* Marks our cgroups, so that probeReach can tell them from any other JavaScript object. */
static const napi_type_tag CGROUP_TAG = {0x1c0b7e9944d24f6b, 0xb2a65f3e08d17c49};

/* The directory's inode number is the id that the kernel's helpers report, where it is 64 bits wide. */
static_assert(sizeof(ino_t) == 8, "64-bit inode numbers");

namespace
{
class CgroupHandle : public Handle
{
public:
	CgroupHandle(std::shared_ptr<EnvState> state, std::string path, int fd)
	    : Handle(std::move(state)), path_(std::move(path)), fd_(fd)
	{
	}

	~CgroupHandle() override
	{
		close();
	}

	void close() override
	{
		if (fd_ >= 0)
			::close(fd_);
		fd_ = -1;
	}

	/* -1 leaves an exception pending. */
	int fd(Napi::Env env) const
	{
		if (fd_ < 0)
			throw_closed(env, "cgroup " + path_);
		return fd_;
	}

	Napi::Value done(Napi::Env env, const char *doing, int err) const
	{
		return err ? throw_syscall(env, doing, path_, -err) : env.Undefined();
	}

	Napi::Value add_process(const Napi::CallbackInfo &info)
	{
		int64_t pid;

		if (fd(info.Env()) < 0 || !arg_integer(info, 0, "pid", 1, INT_MAX, &pid))
			return info.Env().Undefined();

		int err = cgroup_write(fd_, "cgroup.procs", std::to_string(pid));

		return err ? throw_syscall(info.Env(), "moving process " + std::to_string(pid) + " to cgroup", path_, -err)
			   : info.Env().Undefined();
	}

	Napi::Value processes(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		std::vector<pid_t> pids;

		if (fd(env) < 0)
			return env.Undefined();

		int err = cgroup_read_pids(fd_, &pids);

		if (err)
			return done(env, "listing cgroup", err);

		Napi::Array result = Napi::Array::New(env, pids.size());

		for (size_t i = 0; i < pids.size(); i++)
			result.Set(static_cast<uint32_t>(i), Napi::Number::New(env, pids[i]));
		return result;
	}

	Napi::Value populated(const Napi::CallbackInfo &info)
	{
		bool is_populated = false;

		if (fd(info.Env()) < 0)
			return info.Env().Undefined();

		int err = cgroup_is_populated(fd_, &is_populated);

		return err ? done(info.Env(), "asking about cgroup", err) : Napi::Boolean::New(info.Env(), is_populated);
	}

	Napi::Value frozen(const Napi::CallbackInfo &info)
	{
		bool is_frozen = false;

		if (fd(info.Env()) < 0)
			return info.Env().Undefined();

		int err = cgroup_is_frozen(fd_, &is_frozen);

		return err ? done(info.Env(), "asking about cgroup", err) : Napi::Boolean::New(info.Env(), is_frozen);
	}

	Napi::Value freeze(const Napi::CallbackInfo &info)
	{
		bool frozen;

		if (fd(info.Env()) < 0 || !arg_boolean(info, 0, "frozen", &frozen))
			return info.Env().Undefined();
		return done(info.Env(), frozen ? "freezing cgroup" : "thawing cgroup",
			    cgroup_write(fd_, "cgroup.freeze", frozen ? "1" : "0"));
	}

	Napi::Value kill(const Napi::CallbackInfo &info)
	{
		if (fd(info.Env()) < 0)
			return info.Env().Undefined();
		return done(info.Env(), "killing cgroup", cgroup_kill_all(fd_));
	}

private:
	std::string path_;
	int fd_;
};

using Method = Napi::Value (CgroupHandle::*)(const Napi::CallbackInfo &);

void add(Napi::Object target, const std::shared_ptr<CgroupHandle> &handle, const char *name, Method method)
{
	add_method(target, name, [handle, method](const Napi::CallbackInfo &call) { return ((*handle).*method)(call); });
}
} // namespace

Napi::Value cgroup_open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct stat stat;
	std::string path;
	bool create;
	int fd, err;

	if (!arg_path(info, 0, "path", &path) || !arg_flag(info, 1, "options", "create", &create))
		return env.Undefined();
	err = cgroup_open_dir(path, create, &fd);
	if (err == -EOPNOTSUPP)
		return throw_argument(env, "path", "must be in a cgroup v2 hierarchy: " + path);
	if (err)
		return throw_syscall(env, create ? "making cgroup" : "opening cgroup", path, -err);

	auto handle = std::make_shared<CgroupHandle>(env_state(env), path, fd);

	if (fstat(fd, &stat))
		return throw_syscall(env, "asking about cgroup", path, errno);

	Napi::Object result = Napi::Object::New(env);

	result.DefineProperty(Napi::PropertyDescriptor::Value("id", Napi::BigInt::New(env, static_cast<uint64_t>(stat.st_ino)),
							      napi_enumerable));
	add(result, handle, "addProcess", &CgroupHandle::add_process);
	add(result, handle, "processes", &CgroupHandle::processes);
	add(result, handle, "populated", &CgroupHandle::populated);
	add(result, handle, "frozen", &CgroupHandle::frozen);
	add(result, handle, "freeze", &CgroupHandle::freeze);
	add(result, handle, "kill", &CgroupHandle::kill);
	add_method(result, "close", [handle](const Napi::CallbackInfo &call) -> Napi::Value {
		handle->close();
		return call.Env().Undefined();
	});
	auto *shared = new std::shared_ptr<CgroupHandle>(handle);

	napi_type_tag_object(env, result, &CGROUP_TAG);
	napi_wrap(
		env, result, shared,
		[](napi_env, void *data, void *) { delete static_cast<std::shared_ptr<CgroupHandle> *>(data); }, nullptr,
		nullptr);
	return result;
}

int cgroup_fd(const Napi::CallbackInfo &info, size_t index)
{
	Napi::Env env = info.Env();
	bool ours = false;
	void *wrapped = nullptr;

	if (!info[index].IsObject() || napi_check_object_type_tag(env, info[index], &CGROUP_TAG, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, info[index], &wrapped) != napi_ok) {
		throw_argument(env, "cgroup", "must be what openCgroup returned");
		return -1;
	}
	return (*static_cast<std::shared_ptr<CgroupHandle> *>(wrapped))->fd(env);
}
