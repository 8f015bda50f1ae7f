// SPDX-License-Identifier: Apache-2.0
#include "abi-layout-report.h"

#include <cerrno>
#include <cstddef>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "abi.h"
#include "abi-layout.h"
#include "args.h"
#include "bpf-log.h"
#include "embedded.h"
#include "error.h"
#include "object.h"

static Napi::Object open_struct(Napi::Object layout, const char *name, size_t size)
{
	Napi::Object fields = Napi::Object::New(layout.Env());

	fields.Set("", Napi::Number::New(layout.Env(), static_cast<double>(size)));
	layout.Set(name, fields);
	return fields;
}

Napi::Value abi_layout(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Object layout = Napi::Object::New(env);
	Napi::Object fields;

#define S(type) fields = open_struct(layout, #type, sizeof(struct type));
#define F(type, field) fields.Set(#field, Napi::Number::New(env, offsetof(struct type, field)));
#define E(type)
	SL_STRUCTS(S, F, E)
#undef S
#undef F
#undef E
	return layout;
}

static void add_btf_struct(Napi::Object layout, const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	if (id < 0)
		return;

	const struct btf_type *type = btf__type_by_id(btf, static_cast<uint32_t>(id));
	const struct btf_member *members = btf_members(type);
	Napi::Object fields = open_struct(layout, name, type->size);

	for (uint32_t i = 0; i < btf_vlen(type); i++)
		fields.Set(btf__name_by_offset(btf, members[i].name_off),
			   Napi::Number::New(layout.Env(), btf_member_bit_offset(type, i) / 8));
}

Napi::Value btf_layout(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string name;

	if (!arg_string(info, 0, "object", OBJECT_NAME_MAX, &name))
		return env.Undefined();

	const EmbeddedObject *embedded = find_embedded(name);

	if (!embedded)
		return throw_argument(env, "object " + name, "is not one of the embedded objects");

	BpfLog log;
	struct bpf_object *object = bpf_object__open_mem(embedded->start, embedded->end - embedded->start, nullptr);

	if (!object)
		return throw_bpf(env, "opening object", name, errno, log.summary());

	struct btf *btf = bpf_object__btf(object);
	Napi::Object layout = Napi::Object::New(env);

	if (!btf) {
		bpf_object__close(object);
		return throw_bpf(env, "reading the type information of object", name, ENOENT);
	}
#define S(type) add_btf_struct(layout, btf, #type);
#define F(type, field)
#define E(type)
	SL_STRUCTS(S, F, E)
#undef S
#undef F
#undef E
	bpf_object__close(object);
	return layout;
}
