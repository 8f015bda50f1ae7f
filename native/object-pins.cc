// SPDX-License-Identifier: Apache-2.0
/*
 * What an object shares with another one or leaves behind: maps and links by pin, constants that tell one load from the next, and
 * iterators, which are run and not attached. Which of it is pinned, and where, is TypeScript's to say.
 */
#include "object-handle.h"

#include <cerrno>
#include <cstring>
#include <unistd.h>

#include <bpf/btf.h>

#include "args.h"
#include "bpf-log.h"
#include "error.h"
#include "object.h"

/* More than any walk over a machine's tasks writes. */
static constexpr size_t ITERATOR_BYTES_MAX = 256 * 1024 * 1024;
static constexpr size_t READ_BYTES = 64 * 1024;

namespace
{
/* A file descriptor, closed at the end of the scope. */
class Fd
{
public:
	explicit Fd(int fd) : fd(fd)
	{
	}

	~Fd()
	{
		if (fd >= 0)
			::close(fd);
	}

	Fd(const Fd &) = delete;
	Fd &operator=(const Fd &) = delete;

	const int fd;
};

/* Null if it has all that `map` was declared with. A ring may be of another size: that is what it was made with. */
const char *difference(const struct bpf_map *map, const struct bpf_map_info &found)
{
	if (found.type != bpf_map__type(map))
		return "its type";
	if (found.key_size != bpf_map__key_size(map) || found.value_size != bpf_map__value_size(map))
		return "the size of its keys or values";
	if (found.map_flags != bpf_map__map_flags(map))
		return "its flags";
	if (found.type != BPF_MAP_TYPE_RINGBUF && found.max_entries != bpf_map__max_entries(map))
		return "its size";
	return nullptr;
}

/* The place of a `const volatile` variable in the object's constants; -1 if there is none of that name and size. */
int64_t constant_offset(const struct btf *btf, const std::string &name, size_t size)
{
	int section = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);

	if (section < 0)
		return -1;

	const struct btf_type *type = btf__type_by_id(btf, static_cast<uint32_t>(section));
	const struct btf_var_secinfo *each = btf_var_secinfos(type);

	for (uint32_t i = 0; i < btf_vlen(type); i++, each++) {
		const struct btf_type *variable = btf__type_by_id(btf, each->type);

		if (each->size == size && name == btf__name_by_offset(btf, variable->name_off))
			return each->offset;
	}
	return -1;
}
} // namespace

Napi::Value ObjectHandle::maps(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!object_)
		return throw_closed(env, "object " + name_);

	Napi::Array names = Napi::Array::New(env);
	struct bpf_map *each;
	uint32_t count = 0;

	bpf_object__for_each_map(each, object_)
	{
		if (!bpf_map__is_internal(each))
			names.Set(count++, Napi::String::New(env, bpf_map__name(each)));
	}
	return names;
}

Napi::Value ObjectHandle::set_constant(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string name;
	int64_t value;

	if (!check_phase(env, false) || !arg_string(info, 0, "name", OBJECT_NAME_MAX, &name) ||
	    !arg_integer(info, 1, "value", 0, UINT32_MAX, &value))
		return env.Undefined();

	uint32_t wanted = static_cast<uint32_t>(value);
	int64_t offset = constant_offset(bpf_object__btf(object_), name, sizeof(wanted));
	struct bpf_map *each, *constants = nullptr;
	size_t size;

	bpf_object__for_each_map(each, object_)
	{
		const char *dot = strchr(bpf_map__name(each), '.');

		if (bpf_map__is_internal(each) && dot && !strcmp(dot, ".rodata"))
			constants = each;
	}
	if (offset < 0 || !constants)
		return throw_argument(env, "constant " + name, "is not in object " + name_);

	const uint8_t *before = static_cast<const uint8_t *>(bpf_map__initial_value(constants, &size));
	std::string bytes(reinterpret_cast<const char *>(before), size);

	memcpy(&bytes[static_cast<size_t>(offset)], &wanted, sizeof(wanted));

	int err = bpf_map__set_initial_value(constants, bytes.data(), size);

	return err ? throw_bpf(env, "setting constant", name, -err) : env.Undefined();
}

Napi::Value ObjectHandle::share_maps(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	ObjectHandle *other = object_handle(info, 0);
	struct bpf_map *each;

	if (!other || !check_phase(env, false) || !other->check_phase(env, true))
		return env.Undefined();
	bpf_object__for_each_map(each, object_)
	{
		struct bpf_map *theirs = bpf_object__find_map_by_name(other->object_, bpf_map__name(each));

		if (!theirs || bpf_map__is_internal(each))
			continue;

		int err = bpf_map__reuse_fd(each, bpf_map__fd(theirs));

		if (err)
			return throw_bpf(env, "sharing map", bpf_map__name(each), -err);
	}
	return env.Undefined();
}

Napi::Value ObjectHandle::adopt_map(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, false);
	struct bpf_map_info pinned = {};
	uint32_t size = sizeof(pinned);
	Napi::Env env = info.Env();
	std::string path;

	if (!found || !arg_path(info, 1, "path", &path))
		return env.Undefined();

	Fd pin(bpf_obj_get(path.c_str()));

	if (pin.fd < 0)
		return errno == ENOENT ? Napi::Boolean::New(env, false) : throw_bpf(env, "opening pin", path, errno);
	if (bpf_obj_get_info_by_fd(pin.fd, &pinned, &size))
		return throw_bpf(env, "asking about pin", path, errno);

	const char *other = difference(found, pinned);

	if (other)
		return throw_bpf(env, "adopting pin", path, EINVAL, std::string("it differs in ") + other);

	int err = bpf_map__reuse_fd(found, pin.fd);

	return err ? throw_bpf(env, "adopting pin", path, -err) : Napi::Boolean::New(env, true);
}

Napi::Value ObjectHandle::pin_map(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, true);
	Napi::Env env = info.Env();
	std::string path;

	if (!found || !arg_path(info, 1, "path", &path))
		return env.Undefined();
	if (bpf_obj_pin(bpf_map__fd(found), path.c_str()))
		return throw_bpf(env, "pinning at", path, errno);
	return env.Undefined();
}

Napi::Value ObjectHandle::pin_link(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);
	Napi::Env env = info.Env();
	std::string path;

	if (!found || !arg_path(info, 1, "path", &path))
		return env.Undefined();

	auto entry = links_.find(bpf_program__name(found));

	if (entry == links_.end() || entry->second.size() != 1)
		return throw_bpf(env, "one link is needed to pin at", path, ENOENT);
	if (bpf_obj_pin(bpf_link__fd(entry->second.front()), path.c_str()))
		return throw_bpf(env, "pinning at", path, errno);
	return env.Undefined();
}

Napi::Value ObjectHandle::replace_link(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);
	Napi::Env env = info.Env();
	std::string path;

	if (!found || !arg_path(info, 1, "path", &path))
		return env.Undefined();

	Fd link(bpf_obj_get(path.c_str()));

	if (link.fd < 0)
		return errno == ENOENT ? Napi::Boolean::New(env, false) : throw_bpf(env, "opening pin", path, errno);
	if (bpf_link_update(link.fd, bpf_program__fd(found), nullptr))
		return throw_bpf(env, "replacing the program of", path, errno);
	return Napi::Boolean::New(env, true);
}

Napi::Value ObjectHandle::pinned_misses(const Napi::CallbackInfo &info)
{
	struct bpf_link_info of_link = {};
	struct bpf_prog_info of_program = {};
	uint32_t link_size = sizeof(of_link), program_size = sizeof(of_program);
	Napi::Env env = info.Env();
	std::string path;

	if (!arg_path(info, 0, "path", &path))
		return env.Undefined();

	Fd link(bpf_obj_get(path.c_str()));

	if (link.fd < 0 || bpf_obj_get_info_by_fd(link.fd, &of_link, &link_size))
		return throw_bpf(env, "asking about pin", path, errno);

	Fd program(bpf_prog_get_fd_by_id(of_link.prog_id));

	if (program.fd < 0 || bpf_obj_get_info_by_fd(program.fd, &of_program, &program_size))
		return throw_bpf(env, "asking about the program of pin", path, errno);
	return Napi::Number::New(env, static_cast<double>(of_program.recursion_misses));
}

Napi::Value ObjectHandle::iterate(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);
	Napi::Env env = info.Env();
	std::string written;
	ssize_t got;

	if (!found)
		return env.Undefined();

	BpfLog log;
	struct bpf_link *link = bpf_program__attach_iter(found, nullptr);

	if (!link)
		return throw_bpf(env, "preparing iterator", bpf_program__name(found), errno, log.summary());

	Fd iterator(bpf_iter_create(bpf_link__fd(link)));
	int err = iterator.fd < 0 ? errno : 0;

	bpf_link__destroy(link);
	if (err)
		return throw_bpf(env, "starting iterator", bpf_program__name(found), err);
	do {
		size_t before = written.size();

		written.resize(before + READ_BYTES);
		got = read(iterator.fd, &written[before], READ_BYTES);
		err = got < 0 ? errno : 0;
		written.resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
		if (written.size() > ITERATOR_BYTES_MAX)
			return throw_bpf(env, "running iterator", bpf_program__name(found), EFBIG);
	} while (got > 0 || err == EAGAIN || err == EINTR);
	if (err)
		return throw_bpf(env, "running iterator", bpf_program__name(found), err);
	return Napi::Buffer<uint8_t>::Copy(env, reinterpret_cast<const uint8_t *>(written.data()), written.size());
}
