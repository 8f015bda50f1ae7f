// SPDX-License-Identifier: Apache-2.0
/* The values of an object's maps. Sizes are checked against the map, because the kernel takes them on trust. */
#include "object-handle.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "args.h"
#include "error.h"

namespace
{
/* A process by pidfd, closed at the end of the scope. */
class Pidfd
{
public:
	explicit Pidfd(int64_t pid) : fd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)))
	{
	}

	~Pidfd()
	{
		if (fd >= 0)
			::close(fd);
	}

	Pidfd(const Pidfd &) = delete;
	Pidfd &operator=(const Pidfd &) = delete;

	const int fd;
};

bool is_per_cpu(const struct bpf_map *map)
{
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		return true;
	default:
		return false;
	}
}

/* Types whose elements are plain bytes by key; the others are used through their own functions or not at all. */
bool is_keyed(const struct bpf_map *map)
{
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LPM_TRIE:
	case BPF_MAP_TYPE_HASH_OF_MAPS: /* its values are read as ids of maps, and written by put_inner */
		return true;
	default:
		return is_per_cpu(map);
	}
}

/* Bytes that a lookup writes. */
size_t value_size(const struct bpf_map *map)
{
	size_t size = bpf_map__value_size(map);

	if (!is_per_cpu(map))
		return size;
	return ((size + 7) & ~static_cast<size_t>(7)) * static_cast<size_t>(libbpf_num_possible_cpus());
}

bool check_keyed(Napi::Env env, const struct bpf_map *map)
{
	if (is_keyed(map))
		return true;
	throw_argument(env, std::string("map ") + bpf_map__name(map), "has no keys to look up");
	return false;
}

bool check_task_storage(Napi::Env env, const struct bpf_map *map)
{
	if (bpf_map__type(map) == BPF_MAP_TYPE_TASK_STORAGE)
		return true;
	throw_argument(env, std::string("map ") + bpf_map__name(map), "is not task storage");
	return false;
}

bool arg_sized(const Napi::CallbackInfo &info, size_t index, const char *name, size_t size, Bytes *ret_bytes)
{
	if (!arg_bytes(info, index, name, ret_bytes))
		return false;
	if (ret_bytes->size == size)
		return true;
	throw_argument(info.Env(), name, "must be " + std::to_string(size) + " bytes long");
	return false;
}
} // namespace

Napi::Value ObjectHandle::lookup(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	Bytes key;

	if (!found || !check_keyed(env, found) || !arg_sized(info, 1, "key", bpf_map__key_size(found), &key))
		return env.Undefined();

	Napi::Buffer<uint8_t> value = Napi::Buffer<uint8_t>::New(env, value_size(found));

	if (!bpf_map_lookup_elem(bpf_map__fd(found), key.data, value.Data()))
		return value;
	return errno == ENOENT ? env.Null() : throw_bpf(env, "reading map", bpf_map__name(found), errno);
}

Napi::Value ObjectHandle::update(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	Bytes key, value;

	if (!found || !check_keyed(env, found) || !arg_sized(info, 1, "key", bpf_map__key_size(found), &key) ||
	    !arg_sized(info, 2, "value", value_size(found), &value))
		return env.Undefined();
	/* The kernel would take the value for a descriptor of ours. */
	if (bpf_map__type(found) == BPF_MAP_TYPE_HASH_OF_MAPS)
		return throw_argument(env, std::string("map ") + bpf_map__name(found), "holds maps, not values");
	if (bpf_map_update_elem(bpf_map__fd(found), key.data, value.data, BPF_ANY))
		return throw_bpf(env, "writing map", bpf_map__name(found), errno);
	return env.Undefined();
}

Napi::Value ObjectHandle::remove(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	Bytes key;

	if (!found || !check_keyed(env, found) || !arg_sized(info, 1, "key", bpf_map__key_size(found), &key))
		return env.Undefined();
	if (!bpf_map_delete_elem(bpf_map__fd(found), key.data))
		return Napi::Boolean::New(env, true);
	if (errno == ENOENT)
		return Napi::Boolean::New(env, false);
	return throw_bpf(env, "deleting from map", bpf_map__name(found), errno);
}

/* A batch ends at a key that has no entry: what is behind it is taken up again. */
int delete_entries(int fd, const uint8_t *keys, size_t key_size, uint32_t count)
{
	uint32_t at = 0;

	while (at < count) {
		uint32_t done = count - at;

		if (!bpf_map_delete_batch(fd, keys + at * key_size, &done, nullptr))
			return 0;
		if (errno != ENOENT && errno != ENOTSUPP_OF_KERNEL && errno != ENOTSUP && errno != EINVAL)
			return errno;
		/* Only then the kernel says how many went before. */
		if (errno == ENOENT)
			at += done;
		if (at >= count)
			return 0;
		/* One by one, where it is no batch's. */
		if (bpf_map_delete_elem(fd, keys + at * key_size) && errno != ENOENT)
			return errno;
		at++;
	}
	return 0;
}

Napi::Value ObjectHandle::remove_many(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	Bytes keys;

	if (!found || !check_keyed(env, found) || !arg_bytes(info, 1, "keys", &keys))
		return env.Undefined();

	size_t key_size = bpf_map__key_size(found);

	if (keys.size % key_size || keys.size / key_size > UINT32_MAX)
		return throw_argument(env, "keys", "must be whole keys of " + std::to_string(key_size) + " bytes");

	int err = delete_entries(bpf_map__fd(found), keys.data, key_size, static_cast<uint32_t>(keys.size / key_size));

	return err ? throw_bpf(env, "deleting from map", bpf_map__name(found), err) : env.Undefined();
}

Napi::Value ObjectHandle::lookup_task(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	int64_t pid;

	if (!found || !check_task_storage(env, found) || !arg_integer(info, 1, "pid", 1, INT_MAX, &pid))
		return env.Undefined();

	Pidfd task(pid);

	if (task.fd < 0)
		return throw_syscall(env, "opening process", std::to_string(pid), errno);

	Napi::Buffer<uint8_t> value = Napi::Buffer<uint8_t>::New(env, value_size(found));

	if (!bpf_map_lookup_elem(bpf_map__fd(found), &task.fd, value.Data()))
		return value;
	return errno == ENOENT ? env.Null() : throw_bpf(env, "reading map", bpf_map__name(found), errno);
}

Napi::Value ObjectHandle::update_task(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	int64_t pid;
	Bytes value;

	if (!found || !check_task_storage(env, found) || !arg_integer(info, 1, "pid", 1, INT_MAX, &pid) ||
	    !arg_sized(info, 2, "value", value_size(found), &value))
		return env.Undefined();

	Pidfd task(pid);

	if (task.fd < 0)
		return throw_syscall(env, "opening process", std::to_string(pid), errno);
	if (bpf_map_update_elem(bpf_map__fd(found), &task.fd, value.data, BPF_ANY))
		return throw_bpf(env, "writing map", bpf_map__name(found), errno);
	return env.Undefined();
}

Napi::Value ObjectHandle::keys(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();

	if (!found || !check_keyed(env, found))
		return env.Undefined();

	Napi::Array result = Napi::Array::New(env);
	size_t size = bpf_map__key_size(found);
	std::vector<uint8_t> key(size);
	bool first = true;

	/* A key that goes away meanwhile makes the kernel start again: the bound ends that. */
	for (uint32_t count = 0; count < bpf_map__max_entries(found); count++) {
		Napi::Buffer<uint8_t> next = Napi::Buffer<uint8_t>::New(env, size);

		if (bpf_map_get_next_key(bpf_map__fd(found), first ? nullptr : key.data(), next.Data()))
			return errno == ENOENT ? result : throw_bpf(env, "listing map", bpf_map__name(found), errno);
		memcpy(key.data(), next.Data(), size);
		first = false;
		result.Set(count, next);
	}
	return result;
}

/* What the kernel says of the map; false with an exception pending. */
static bool kernel_info(Napi::Env env, const struct bpf_map *map, struct bpf_map_info *ret_info)
{
	uint32_t size = sizeof(*ret_info);

	if (!bpf_obj_get_info_by_fd(bpf_map__fd(map), ret_info, &size))
		return true;
	throw_bpf(env, "asking about map", bpf_map__name(map), errno);
	return false;
}

Napi::Value ObjectHandle::map_id(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	struct bpf_map_info kernel = {};

	if (!found || !kernel_info(info.Env(), found, &kernel))
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), kernel.id);
}

Napi::Value ObjectHandle::map_size(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	struct bpf_map_info kernel = {};

	if (!found || !kernel_info(info.Env(), found, &kernel))
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), kernel.max_entries);
}
