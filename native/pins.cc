// SPDX-License-Identifier: Apache-2.0
#include "pins.h"

#include <cerrno>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <string>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "args.h"
#include "error.h"

Napi::Value is_bpf_fs(const Napi::CallbackInfo &info)
{
	struct statfs fs;
	std::string path;

	if (!arg_path(info, 0, "path", &path))
		return info.Env().Undefined();
	if (statfs(path.c_str(), &fs))
		return throw_syscall(info.Env(), "asking about the file system of", path, errno);
	return Napi::Boolean::New(info.Env(), fs.f_type == BPF_FS_MAGIC);
}

Napi::Value mount_bpf_fs(const Napi::CallbackInfo &info)
{
	std::string path;

	if (!arg_path(info, 0, "path", &path))
		return info.Env().Undefined();
	if (mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return throw_syscall(info.Env(), "mounting a BPF file system at", path, errno);
	return info.Env().Undefined();
}

Napi::Value wait_for_programs(const Napi::CallbackInfo &info)
{
	/* synchronize_rcu(): what ran under RCU, or without preemption, when it was called is done when it returns. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return throw_syscall(info.Env(), "waiting for", "programs that run", errno);
	return info.Env().Undefined();
}
