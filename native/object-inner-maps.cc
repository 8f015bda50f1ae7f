// SPDX-License-Identifier: Apache-2.0
/*
 * Maps in a map of maps: each is made and filled before anybody can find it, and put in by one update, in place of an earlier one. One that
 * nobody looks at can be changed where it is.
 */
#include "object-handle.h"

#include <cerrno>
#include <unistd.h>
#include <vector>

#include "args.h"
#include "error.h"

/* Of one call. */
static constexpr size_t TABLES_MAX = 1024;
/* A trie takes memory for what is in it only, and so has room for whatever it may be changed to. */
static constexpr uint32_t TRIE_ROOM = 1u << 18;

namespace
{
struct Entries {
	Bytes keys;
	Bytes values;
	uint32_t count;
};

bool arg_entries(const Napi::CallbackInfo &info, size_t index, const InnerShape &shape, Entries *ret_entries)
{
	size_t key_size = shape.key_size, value_size = shape.value_size;

	if (!arg_bytes(info, index, "keys", &ret_entries->keys) || !arg_bytes(info, index + 1, "values", &ret_entries->values))
		return false;

	size_t count = ret_entries->keys.size / key_size;

	if (ret_entries->keys.size % key_size || ret_entries->values.size != count * value_size || count > UINT32_MAX) {
		throw_argument(info.Env(), "values",
			       "must be " + std::to_string(value_size) + " bytes for every " + std::to_string(key_size) +
				       " of keys");
		return false;
	}
	ret_entries->count = static_cast<uint32_t>(count);
	return true;
}

/* Returns 0 or a positive errno. */
int fill(int fd, const InnerShape &shape, const Entries &entries)
{
	size_t key_size = shape.key_size, value_size = shape.value_size;
	uint32_t done = entries.count;

	if (!entries.count || !bpf_map_update_batch(fd, entries.keys.data, entries.values.data, &done, nullptr))
		return 0;
	if (errno != ENOTSUPP_OF_KERNEL && errno != ENOTSUP && errno != EINVAL)
		return errno;
	for (size_t i = 0; i < entries.count; i++) {
		if (bpf_map_update_elem(fd, entries.keys.data + i * key_size, entries.values.data + i * value_size, BPF_ANY))
			return errno;
	}
	return 0;
}

/* As `shape` was declared, with room for `count`. -1 and errno for a failure. */
int create_like(const InnerShape &shape, uint32_t count)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = shape.flags);
	uint32_t room = shape.type == BPF_MAP_TYPE_LPM_TRIE && count < TRIE_ROOM ? TRIE_ROOM : count;

	return bpf_map_create(shape.type, nullptr, shape.key_size, shape.value_size, room ? room : 1, &options);
}

/* Closes its maps at the end of the scope: those that were put in live on. */
struct MadeMaps {
	MadeMaps() = default;
	MadeMaps(const MadeMaps &) = delete;
	MadeMaps &operator=(const MadeMaps &) = delete;

	~MadeMaps()
	{
		for (int fd : fds)
			::close(fd);
	}

	std::vector<int> fds;
	std::vector<uint8_t> keys;
};

/* The map that is at a key of a map of maps, closed at the end of the scope. */
struct InnerMap {
	InnerMap(int outer, const uint8_t *key)
	{
		uint32_t id;

		fd = bpf_map_lookup_elem(outer, key, &id) ? -1 : bpf_map_get_fd_by_id(id);
	}
	InnerMap(const InnerMap &) = delete;
	InnerMap &operator=(const InnerMap &) = delete;

	~InnerMap()
	{
		if (fd >= 0)
			::close(fd);
	}

	int fd;
};

/* Makes and fills one map of the arguments from `at` on; false with an exception pending. */
bool make_inner(const Napi::CallbackInfo &info, size_t at, const struct bpf_map *outer, const InnerShape &shape,
		MadeMaps *ret_made)
{
	size_t key_size = bpf_map__key_size(outer);
	Napi::Env env = info.Env();
	Entries entries = {};
	Bytes key;

	if (!arg_bytes(info, at, "key", &key) || !arg_entries(info, at + 1, shape, &entries))
		return false;
	if (key.size != key_size) {
		throw_argument(env, "key", "must be " + std::to_string(key_size) + " bytes long");
		return false;
	}

	int inner = create_like(shape, entries.count);

	if (inner < 0) {
		throw_bpf(env, "making a map for", bpf_map__name(outer), errno);
		return false;
	}
	ret_made->fds.push_back(inner);
	ret_made->keys.insert(ret_made->keys.end(), key.data, key.data + key.size);

	int err = fill(inner, shape, entries);

	if (err)
		throw_bpf(env, "filling a map for", bpf_map__name(outer), err);
	return !err;
}

/* One by one, where the kernel has no batches for maps of maps (before 5.19). Returns 0 or a positive errno. */
int put_each(int outer, const MadeMaps &made, size_t key_size)
{
	for (size_t i = 0; i < made.fds.size(); i++) {
		if (bpf_map_update_elem(outer, made.keys.data() + i * key_size, &made.fds[i], BPF_ANY))
			return errno;
	}
	return 0;
}

/* Puts all in, or none. Returns 0 or a positive errno. */
int put_all(int outer, const MadeMaps &made, size_t key_size)
{
	uint32_t count = static_cast<uint32_t>(made.fds.size()), done = count;
	int err = 0;

	if (count < 2 || bpf_map_update_batch(outer, made.keys.data(), made.fds.data(), &done, nullptr)) {
		bool is_no_batch = count < 2 || errno == ENOTSUPP_OF_KERNEL || errno == ENOTSUP || errno == EINVAL;

		err = is_no_batch ? put_each(outer, made, key_size) : errno;
	}
	if (err) {
		for (uint32_t i = 0; i < count; i++)
			bpf_map_delete_elem(outer, made.keys.data() + i * key_size);
	}
	return err;
}
} // namespace

Napi::Value ObjectHandle::change_inner(const Napi::CallbackInfo &info)
{
	struct bpf_map *outer = map(info, true);
	Napi::Env env = info.Env();
	Entries entries = {};
	Bytes key, gone;

	if (!outer)
		return env.Undefined();

	std::string name = bpf_map__name(outer);
	auto declared = inner_shapes_.find(name);

	if (declared == inner_shapes_.end())
		return throw_argument(env, "map " + name, "is not a map of maps");

	const InnerShape &shape = declared->second;

	if (!arg_bytes(info, 1, "key", &key) || !arg_bytes(info, 2, "gone", &gone) || !arg_entries(info, 3, shape, &entries))
		return env.Undefined();
	if (key.size != bpf_map__key_size(outer) || gone.size % shape.key_size)
		return throw_argument(env, "key or gone", "must be whole keys");

	InnerMap inner(bpf_map__fd(outer), key.data);

	if (inner.fd < 0)
		return throw_bpf(env, "opening a map of", name, errno);

	int err = delete_entries(inner.fd, gone.data, shape.key_size, static_cast<uint32_t>(gone.size / shape.key_size));

	if (!err)
		err = fill(inner.fd, shape, entries);
	return err ? throw_bpf(env, "changing a map of", name, err) : env.Undefined();
}

void ObjectHandle::keep_inner_shapes()
{
	struct bpf_map *each;

	bpf_object__for_each_map(each, object_)
	{
		const struct bpf_map *inner = bpf_map__inner_map(each);

		if (inner)
			inner_shapes_[bpf_map__name(each)] = {bpf_map__type(inner), bpf_map__key_size(inner),
							      bpf_map__value_size(inner), bpf_map__map_flags(inner)};
	}
}

Napi::Value ObjectHandle::put_inner(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	MadeMaps made;

	if (!found)
		return env.Undefined();

	std::string name = bpf_map__name(found);
	auto declared = inner_shapes_.find(name);

	if (declared == inner_shapes_.end())
		return throw_argument(env, "map " + name, "is not a map of maps");
	if (info.Length() % 3 != 1 || info.Length() > 1 + 3 * TABLES_MAX)
		return throw_argument(env, "tables",
				      "must be a key, keys and values each, at most " + std::to_string(TABLES_MAX));
	for (size_t at = 1; at < info.Length(); at += 3) {
		if (!make_inner(info, at, found, declared->second, &made))
			return env.Undefined();
	}

	int err = put_all(bpf_map__fd(found), made, bpf_map__key_size(found));

	return err ? throw_bpf(env, "filling map", name, err) : env.Undefined();
}
