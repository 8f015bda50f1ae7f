// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include "args.h"
#include "bpf-log.h"
#include "embedded.h"
#include "error.h"
#include "late-hooks.h"
#include "object-handle.h"

/* Marks our objects, so that openRing can tell them from any other JavaScript object. */
static const napi_type_tag OBJECT_TAG = {0x5d1f4a0c6e7b49e2, 0x9a3b8c217f40d516};

static constexpr int64_t MAP_SIZE_MAX = UINT32_MAX;

ObjectHandle::ObjectHandle(std::shared_ptr<EnvState> state, std::string name, struct bpf_object *object)
    : Handle(std::move(state)), name_(std::move(name)), object_(object), missing_(set_late_hooks(object))
{
}

ObjectHandle::~ObjectHandle()
{
	close();
}

void ObjectHandle::close()
{
	for (auto &entry : links_) {
		for (struct bpf_link *link : entry.second)
			bpf_link__destroy(link);
	}
	links_.clear();
	bpf_object__close(object_);
	object_ = nullptr;
}

bool ObjectHandle::check_phase(Napi::Env env, bool loaded)
{
	if (!object_) {
		throw_closed(env, "object " + name_);
		return false;
	}
	if (loaded == loaded_)
		return true;
	throw_bpf(env, loaded ? "loading first is needed for object" : "too late, already loaded is object", name_,
		  loaded ? ENOENT : EBUSY);
	return false;
}

struct bpf_program *ObjectHandle::program(const Napi::CallbackInfo &info, bool loaded)
{
	std::string name;

	if (!check_phase(info.Env(), loaded) || !arg_string(info, 0, "program", OBJECT_NAME_MAX, &name))
		return nullptr;

	struct bpf_program *found = bpf_object__find_program_by_name(object_, name.c_str());

	if (!found)
		throw_argument(info.Env(), "program " + name, "is not in object " + name_);
	return found;
}

struct bpf_map *ObjectHandle::find_map(Napi::Env env, const std::string &name, bool loaded)
{
	if (!check_phase(env, loaded))
		return nullptr;

	struct bpf_map *found = bpf_object__find_map_by_name(object_, name.c_str());

	if (!found)
		throw_argument(env, "map " + name, "is not in object " + name_);
	return found;
}

struct bpf_map *ObjectHandle::map(const Napi::CallbackInfo &info, bool loaded)
{
	std::string name;

	if (!arg_string(info, 0, "map", OBJECT_NAME_MAX, &name))
		return nullptr;
	return find_map(info.Env(), name, loaded);
}

Napi::Value ObjectHandle::programs(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!object_)
		return throw_closed(env, "object " + name_);

	Napi::Array names = Napi::Array::New(env);
	struct bpf_program *each;
	uint32_t count = 0;

	bpf_object__for_each_program (each, object_)
		names.Set(count++, Napi::String::New(env, bpf_program__name(each)));
	return names;
}

Napi::Value ObjectHandle::missing(const Napi::CallbackInfo &info)
{
	Napi::Array names = Napi::Array::New(info.Env());
	uint32_t count = 0;

	for (const std::string &name : missing_)
		names.Set(count++, Napi::String::New(info.Env(), name));
	return names;
}

Napi::Value ObjectHandle::set_autoload(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, false);
	bool autoload;

	if (found && arg_boolean(info, 1, "autoload", &autoload))
		bpf_program__set_autoload(found, autoload);
	return info.Env().Undefined();
}

Napi::Value ObjectHandle::set_map_size(const Napi::CallbackInfo &info)
{
	struct bpf_map *found = map(info, false);
	int64_t size;

	if (!found || !arg_integer(info, 1, "maxEntries", 1, MAP_SIZE_MAX, &size))
		return info.Env().Undefined();
	/* libbpf would round a ring's size up and say nothing. */
	if (bpf_map__type(found) == BPF_MAP_TYPE_RINGBUF && ((size & (size - 1)) || size % sysconf(_SC_PAGESIZE)))
		return throw_argument(info.Env(), "maxEntries",
				      "must be a power of two and a multiple of the page size for a ring");

	int err = bpf_map__set_max_entries(found, static_cast<uint32_t>(size));

	if (err)
		return throw_bpf(info.Env(), "resizing map", bpf_map__name(found), -err);
	return info.Env().Undefined();
}

/*
 * The verifier gives up with EAGAIN when its thread has a signal waiting (bpf_check of kernel/bpf/verifier.c); libbpf tries five times,
 * which a profiler's or a terminal's signals outlast. They wait until the object is in.
 */
static int load_undisturbed(struct bpf_object *object)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = bpf_object__load(object);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	return err;
}

Napi::Value ObjectHandle::load(const Napi::CallbackInfo &info)
{
	BpfLog log;

	if (!check_phase(info.Env(), false))
		return info.Env().Undefined();

	keep_inner_shapes();

	int err = load_undisturbed(object_);

	if (err)
		return throw_bpf(info.Env(), "loading object", name_, -err, log.summary());
	loaded_ = true;
	return info.Env().Undefined();
}

Napi::Value ObjectHandle::keep_link(const Napi::CallbackInfo &info, const std::string &program, struct bpf_link *link,
				    const std::string &log)
{
	if (!link)
		return throw_bpf(info.Env(), "attaching program", program, errno, log);
	links_[program].push_back(link);
	return info.Env().Undefined();
}

Napi::Value ObjectHandle::attach(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);

	if (!found)
		return info.Env().Undefined();

	std::string name = bpf_program__name(found);

	if (bpf_program__type(found) != BPF_PROG_TYPE_TRACING)
		return throw_argument(info.Env(), "program " + name, "is not a tracing program");
	/* Twice would mean every event twice. */
	if (links_.count(name))
		return throw_bpf(info.Env(), "attaching program", name, EEXIST);

	BpfLog log;
	struct bpf_link *link = bpf_program__attach(found);

	return keep_link(info, name, link, log.summary());
}

static bool is_cgroup_program(enum bpf_prog_type type)
{
	switch (type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SOCK_OPS:
		return true;
	default:
		return false;
	}
}

Napi::Value ObjectHandle::attach_cgroup(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);
	std::string path;

	if (!found || !arg_path(info, 1, "path", &path))
		return info.Env().Undefined();

	std::string name = bpf_program__name(found);

	if (!is_cgroup_program(bpf_program__type(found)))
		return throw_argument(info.Env(), "program " + name, "is not a cgroup program");

	int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return throw_syscall(info.Env(), "opening cgroup", path, errno);

	BpfLog log;
	struct bpf_link *link = bpf_program__attach_cgroup(found, fd);
	int err = errno;

	::close(fd);
	errno = err;
	return keep_link(info, name, link, log.summary());
}

Napi::Value ObjectHandle::detach(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);

	if (!found)
		return info.Env().Undefined();

	auto entry = links_.find(bpf_program__name(found));

	if (entry == links_.end())
		return info.Env().Undefined();
	for (struct bpf_link *link : entry->second)
		bpf_link__destroy(link);
	links_.erase(entry);
	return info.Env().Undefined();
}

Napi::Value ObjectHandle::program_info(const Napi::CallbackInfo &info)
{
	struct bpf_program *found = program(info, true);
	struct bpf_prog_info kernel = {};
	uint32_t size = sizeof(kernel);
	Napi::Env env = info.Env();

	if (!found)
		return env.Undefined();
	/* A program that was not loaded has no fd: EBADF. */
	if (bpf_obj_get_info_by_fd(bpf_program__fd(found), &kernel, &size))
		return throw_bpf(env, "asking about program", bpf_program__name(found), errno);

	Napi::Object result = Napi::Object::New(env);

	result.Set("id", Napi::Number::New(env, kernel.id));
	result.Set("recursionMisses", Napi::Number::New(env, static_cast<double>(kernel.recursion_misses)));
	result.Set("verifiedInstructions", Napi::Number::New(env, kernel.verified_insns));
	return result;
}

using Method = Napi::Value (ObjectHandle::*)(const Napi::CallbackInfo &);

static void add(Napi::Object target, const std::shared_ptr<ObjectHandle> &handle, const char *name, Method method)
{
	add_method(target, name, [handle, method](const Napi::CallbackInfo &call) { return ((*handle).*method)(call); });
}

Napi::Value object_open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string name;

	if (!arg_string(info, 0, "name", OBJECT_NAME_MAX, &name))
		return env.Undefined();

	const EmbeddedObject *embedded = find_embedded(name);

	if (!embedded)
		return throw_argument(env, "object " + name, "is not one of the embedded objects");

	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name.c_str());
	BpfLog log;
	struct bpf_object *object = bpf_object__open_mem(embedded->start, embedded->end - embedded->start, &options);

	if (!object)
		return throw_bpf(env, "opening object", name, errno, log.summary());

	auto handle = std::make_shared<ObjectHandle>(env_state(env), name, object);
	Napi::Object result = Napi::Object::New(env);

	add(result, handle, "programs", &ObjectHandle::programs);
	add(result, handle, "missing", &ObjectHandle::missing);
	add(result, handle, "setAutoload", &ObjectHandle::set_autoload);
	add(result, handle, "setMapSize", &ObjectHandle::set_map_size);
	add(result, handle, "load", &ObjectHandle::load);
	add(result, handle, "attach", &ObjectHandle::attach);
	add(result, handle, "attachCgroup", &ObjectHandle::attach_cgroup);
	add(result, handle, "detach", &ObjectHandle::detach);
	add(result, handle, "lookup", &ObjectHandle::lookup);
	add(result, handle, "update", &ObjectHandle::update);
	add(result, handle, "delete", &ObjectHandle::remove);
	add(result, handle, "deleteMany", &ObjectHandle::remove_many);
	add(result, handle, "lookupTask", &ObjectHandle::lookup_task);
	add(result, handle, "updateTask", &ObjectHandle::update_task);
	add(result, handle, "keys", &ObjectHandle::keys);
	add(result, handle, "mapId", &ObjectHandle::map_id);
	add(result, handle, "putInner", &ObjectHandle::put_inner);
	add(result, handle, "changeInner", &ObjectHandle::change_inner);
	add(result, handle, "mapSize", &ObjectHandle::map_size);
	add(result, handle, "maps", &ObjectHandle::maps);
	add(result, handle, "setConstant", &ObjectHandle::set_constant);
	add(result, handle, "shareMaps", &ObjectHandle::share_maps);
	add(result, handle, "adoptMap", &ObjectHandle::adopt_map);
	add(result, handle, "pinMap", &ObjectHandle::pin_map);
	add(result, handle, "pinLink", &ObjectHandle::pin_link);
	add(result, handle, "replaceLink", &ObjectHandle::replace_link);
	add(result, handle, "pinnedMisses", &ObjectHandle::pinned_misses);
	add(result, handle, "iterate", &ObjectHandle::iterate);
	add(result, handle, "programInfo", &ObjectHandle::program_info);
	add_method(result, "close", [handle](const Napi::CallbackInfo &call) -> Napi::Value {
		handle->close();
		return call.Env().Undefined();
	});
	/* For object_ring: tagged, so that nothing else can be taken for it. */
	auto *shared = new std::shared_ptr<ObjectHandle>(handle);

	napi_type_tag_object(env, result, &OBJECT_TAG);
	napi_wrap(
		env, result, shared,
		[](napi_env, void *data, void *) { delete static_cast<std::shared_ptr<ObjectHandle> *>(data); }, nullptr,
		nullptr);
	return result;
}

ObjectHandle *object_handle(const Napi::CallbackInfo &info, size_t index)
{
	Napi::Env env = info.Env();
	bool ours = false;
	void *wrapped = nullptr;

	if (!info[index].IsObject() || napi_check_object_type_tag(env, info[index], &OBJECT_TAG, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, info[index], &wrapped) != napi_ok) {
		throw_argument(env, "object", "must be what openObject returned");
		return nullptr;
	}
	return static_cast<std::shared_ptr<ObjectHandle> *>(wrapped)->get();
}

bool object_ring(const Napi::CallbackInfo &info, size_t index, const std::string &map, RingMap *ret_ring)
{
	ObjectHandle *object = object_handle(info, index);
	struct bpf_map *found = object ? object->find_map(info.Env(), map, true) : nullptr;

	if (!found)
		return false;
	if (bpf_map__type(found) != BPF_MAP_TYPE_RINGBUF) {
		throw_argument(info.Env(), "map " + map, "is not a ring buffer");
		return false;
	}
	*ret_ring = {bpf_map__fd(found), bpf_map__max_entries(found)};
	return true;
}
