// SPDX-License-Identifier: Apache-2.0
/*
 * The addon's exports: src/native/addon.ts says what each of them means. Nothing here decides anything; every argument is checked
 * where it is read, so that no caller can crash the process.
 */
#include <cerrno>
#include <sys/prctl.h>

#include <napi.h>

#include "abi.h"
#include "abi-layout-report.h"
#include "args.h"
#include "bpf-log.h"
#include "cgroup.h"
#include "clock.h"
#include "doors.h"
#include "embedded.h"
#include "env-state.h"
#include "error.h"
#include "event-encoder.h"
#include "lock.h"
#include "object.h"
#include "pins.h"
#include "poll.h"
#include "probe.h"
#include "reset.h"
#include "ring-reader.h"
#include "socket.h"

static Napi::Value list_objects(const Napi::CallbackInfo &info)
{
	Napi::Array names = Napi::Array::New(info.Env(), EMBEDDED_COUNT);

	for (uint32_t i = 0; i < EMBEDDED_COUNT; i++)
		names.Set(i, Napi::String::New(info.Env(), embedded_objects()[i].name));
	return names;
}

static Napi::Value encode_record(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::unique_ptr<uint8_t[]> out;
	EncodedEvent encoded;
	Bytes record;

	if (!arg_bytes(info, 0, "record", &record))
		return env.Undefined();
	out.reset(new uint8_t[ENCODED_EVENT_MAX]);
	encoded = encode_event(record.data, record.size, out.get(), ENCODED_EVENT_MAX);
	if (!encoded.fits)
		return env.Null();
	return Napi::Buffer<uint8_t>::Copy(env, out.get(), encoded.bytes);
}

static Napi::Value set_non_dumpable(const Napi::CallbackInfo &info)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return throw_syscall(info.Env(), "clearing", "PR_SET_DUMPABLE", errno);
	return info.Env().Undefined();
}

static Napi::Value get_boot_time_ns(const Napi::CallbackInfo &info)
{
	return Napi::BigInt::New(info.Env(), boot_time_ns());
}

static Napi::Value get_boot_to_unix_ns(const Napi::CallbackInfo &info)
{
	return Napi::BigInt::New(info.Env(), boot_to_unix_ns());
}

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	if (!Poll::supported()) {
		throw_syscall(env, "checking", "libuv's handle types", ENOSYS);
		return exports;
	}
	BpfLog::install();
	env_state(env);
	exports.Set("abiVersion", Napi::Number::New(env, SL_ABI_VERSION));
	exports.Set("maxEncodedEvent", Napi::Number::New(env, static_cast<double>(ENCODED_EVENT_MAX)));
	add_method(exports, "abiLayout", abi_layout);
	add_method(exports, "btfLayout", btf_layout);
	add_method(exports, "objects", list_objects);
	add_method(exports, "openObject", object_open);
	add_method(exports, "openRing", ring_open);
	add_method(exports, "openCgroup", cgroup_open);
	add_method(exports, "probeReach", probe_reach);
	add_method(exports, "peer", socket_peer);
	add_method(exports, "sendDatagram", socket_send_datagram);
	add_method(exports, "netnsCookie", netns_cookie);
	add_method(exports, "openDoors", doors_open);
	add_method(exports, "sendFds", fds_send);
	add_method(exports, "openMailbox", mailbox_open);
	add_method(exports, "lockFile", lock_file);
	add_method(exports, "lockFolder", lock_folder);
	add_method(exports, "isBpfFs", is_bpf_fs);
	add_method(exports, "mountBpfFs", mount_bpf_fs);
	add_method(exports, "waitForPrograms", wait_for_programs);
	add_method(exports, "resetConnections", reset_connections);
	add_method(exports, "setNonDumpable", set_non_dumpable);
	add_method(exports, "bootTimeNs", get_boot_time_ns);
	add_method(exports, "bootToUnixNs", get_boot_to_unix_ns);
	add_method(exports, "encodeRecord", encode_record);
	return exports;
}

NODE_API_MODULE(sluice, init)
