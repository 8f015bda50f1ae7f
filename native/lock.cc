// SPDX-License-Identifier: Apache-2.0
#include "lock.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include "args.h"
#include "env-state.h"
#include "error.h"

namespace
{
class FileLock : public Handle
{
public:
	FileLock(std::shared_ptr<EnvState> state, int fd) : Handle(std::move(state)), fd_(fd)
	{
	}

	~FileLock() override
	{
		close();
	}

	void close() override
	{
		if (fd_ >= 0)
			::close(fd_);
		fd_ = -1;
	}

	/* Gives the lock back and lets go of the reference that kept it. */
	void release(const std::shared_ptr<FileLock> &self)
	{
		close();
		state_->kept.erase(self);
	}

private:
	int fd_;
};
} // namespace

static Napi::Value lock_opened(const Napi::CallbackInfo &info, const std::string &path, int fd)
{
	Napi::Env env = info.Env();

	if (fd < 0)
		return throw_syscall(env, "opening for a lock", path, errno);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int err = errno;

		close(fd);
		return err == EWOULDBLOCK ? env.Null() : throw_syscall(env, "locking", path, err);
	}

	std::shared_ptr<EnvState> state = env_state(env);
	auto lock = std::make_shared<FileLock>(state, fd);
	Napi::Object result = Napi::Object::New(env);

	/* Dropping the object must not give the lock away at some later garbage collection. */
	state->kept.insert(lock);
	add_method(result, "release", [lock](const Napi::CallbackInfo &call) -> Napi::Value {
		lock->release(lock);
		return call.Env().Undefined();
	});
	return result;
}

Napi::Value lock_file(const Napi::CallbackInfo &info)
{
	std::string path;

	if (!arg_path(info, 0, "path", &path))
		return info.Env().Undefined();
	return lock_opened(info, path,
			   open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600));
}

Napi::Value lock_folder(const Napi::CallbackInfo &info)
{
	std::string path;

	if (!arg_path(info, 0, "path", &path))
		return info.Env().Undefined();
	return lock_opened(info, path, open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}
