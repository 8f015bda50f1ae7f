/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The class behind object.h, shared by its parts: object.cc (life and programs), object-maps.cc (map values), object-inner-maps.cc (maps of maps) and object-pins.cc (what
 * outlives or is shared with another object, and iterators).
 */
#ifndef SLUICE_OBJECT_HANDLE_H
#define SLUICE_OBJECT_HANDLE_H

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <napi.h>

#include "env-state.h"

/* What the kernel says of batches that a type of map does not have (include/linux/errno.h). */
static constexpr int ENOTSUPP_OF_KERNEL = 524;

/* What the maps in a map of maps are made like. */
struct InnerShape {
	enum bpf_map_type type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t flags;
};

/* Deletes `count` keys, end to end, and passes over those that have no entry. Returns 0 or a positive errno. */
int delete_entries(int fd, const uint8_t *keys, size_t key_size, uint32_t count);

class ObjectHandle : public Handle
{
public:
	ObjectHandle(std::shared_ptr<EnvState> state, std::string name, struct bpf_object *object);
	~ObjectHandle() override;
	void close() override;

	Napi::Value programs(const Napi::CallbackInfo &info);
	Napi::Value missing(const Napi::CallbackInfo &info);
	Napi::Value set_autoload(const Napi::CallbackInfo &info);
	Napi::Value set_map_size(const Napi::CallbackInfo &info);
	Napi::Value load(const Napi::CallbackInfo &info);
	Napi::Value attach(const Napi::CallbackInfo &info);
	Napi::Value attach_cgroup(const Napi::CallbackInfo &info);
	Napi::Value detach(const Napi::CallbackInfo &info);
	Napi::Value program_info(const Napi::CallbackInfo &info);

	Napi::Value lookup(const Napi::CallbackInfo &info);
	Napi::Value update(const Napi::CallbackInfo &info);
	Napi::Value remove(const Napi::CallbackInfo &info);
	Napi::Value remove_many(const Napi::CallbackInfo &info);
	Napi::Value lookup_task(const Napi::CallbackInfo &info);
	Napi::Value update_task(const Napi::CallbackInfo &info);
	Napi::Value keys(const Napi::CallbackInfo &info);
	Napi::Value map_id(const Napi::CallbackInfo &info);
	Napi::Value put_inner(const Napi::CallbackInfo &info);
	Napi::Value change_inner(const Napi::CallbackInfo &info);
	Napi::Value map_size(const Napi::CallbackInfo &info);

	Napi::Value maps(const Napi::CallbackInfo &info);
	Napi::Value set_constant(const Napi::CallbackInfo &info);
	Napi::Value share_maps(const Napi::CallbackInfo &info);
	Napi::Value adopt_map(const Napi::CallbackInfo &info);
	Napi::Value pin_map(const Napi::CallbackInfo &info);
	Napi::Value pin_link(const Napi::CallbackInfo &info);
	Napi::Value replace_link(const Napi::CallbackInfo &info);
	Napi::Value pinned_misses(const Napi::CallbackInfo &info);
	Napi::Value iterate(const Napi::CallbackInfo &info);

	/* Each leaves an exception pending where it returns null. `loaded`: whether the object must be loaded already. */
	struct bpf_program *program(const Napi::CallbackInfo &info, bool loaded);
	struct bpf_map *map(const Napi::CallbackInfo &info, bool loaded);
	struct bpf_map *find_map(Napi::Env env, const std::string &name, bool loaded);

private:
	bool check_phase(Napi::Env env, bool loaded);
	/* libbpf forgets them by loading. */
	void keep_inner_shapes();
	Napi::Value keep_link(const Napi::CallbackInfo &info, const std::string &program, struct bpf_link *link,
			      const std::string &log);

	std::string name_;
	struct bpf_object *object_;
	std::vector<std::string> missing_; /* programs whose hook this kernel does not have */
	bool loaded_ = false;
	std::map<std::string, std::vector<struct bpf_link *>> links_;
	std::map<std::string, InnerShape> inner_shapes_; /* by the name of the map of maps */
};

#endif
