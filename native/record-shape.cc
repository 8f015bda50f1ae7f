// SPDX-License-Identifier: Apache-2.0
#include "record-shape.h"

namespace
{
/* Field numbers of sensor.proto. */
constexpr uint32_t EVENT_EXEC = 16;
constexpr uint32_t EVENT_FORK = 17;
constexpr uint32_t EVENT_EXIT = 18;
constexpr uint32_t EVENT_FILE_OPEN = 19;
constexpr uint32_t EVENT_CONNECT = 20;
constexpr uint32_t EVENT_EXEC_FAILED = 21;
constexpr uint32_t EVENT_FILE_CHANGE = 22;
constexpr uint32_t EVENT_STDIN = 23;
constexpr uint32_t EVENT_CONNECTION_CLOSED = 24;
constexpr uint32_t EVENT_LISTEN = 25;
constexpr uint32_t EVENT_SOCKET = 26;
constexpr uint32_t EVENT_CGROUP = 27;
constexpr uint32_t EVENT_QUARANTINE = 29;
constexpr uint32_t EVENT_DNS = 30;
} // namespace

Shape shape_of(uint16_t kind)
{
	switch (kind) {
	case SL_KIND_EXEC:
		return {sizeof(struct sl_exec), EVENT_EXEC};
	case SL_KIND_FORK:
		return {sizeof(struct sl_fork), EVENT_FORK};
	case SL_KIND_EXIT:
		return {sizeof(struct sl_exit), EVENT_EXIT};
	case SL_KIND_FILE_OPEN:
		return {sizeof(struct sl_file_open), EVENT_FILE_OPEN};
	case SL_KIND_CONNECT:
		return {sizeof(struct sl_connect), EVENT_CONNECT};
	case SL_KIND_EXEC_FAILED:
		return {sizeof(struct sl_exec_failed), EVENT_EXEC_FAILED};
	case SL_KIND_FILE_CHANGE:
		return {sizeof(struct sl_file_change), EVENT_FILE_CHANGE};
	case SL_KIND_CONNECTION_CLOSED:
		return {sizeof(struct sl_closed), EVENT_CONNECTION_CLOSED};
	case SL_KIND_LISTEN:
		return {sizeof(struct sl_connect), EVENT_LISTEN};
	case SL_KIND_SOCKET:
		return {sizeof(struct sl_connect), EVENT_SOCKET};
	case SL_KIND_STDIN:
		return {sizeof(struct sl_stdin), EVENT_STDIN};
	case SL_KIND_CGROUP:
		return {sizeof(struct sl_cgroup), EVENT_CGROUP};
	case SL_KIND_QUARANTINE:
		return {sizeof(struct sl_quarantine), EVENT_QUARANTINE};
	case SL_KIND_DNS:
		return {sizeof(struct sl_dns), EVENT_DNS};
	default:
		return {0, 0};
	}
}

bool data_size(const Fixed &fixed, size_t *ret_size)
{
	const struct sl_exec &exec = fixed.exec;
	const struct sl_file_open &open = fixed.file_open;
	const struct sl_connect &connect = fixed.connect;
	const struct sl_exec_failed &failed = fixed.exec_failed;
	const struct sl_file_change &change = fixed.file_change;

	*ret_size = 0;
	switch (fixed.hdr.kind) {
	case SL_KIND_EXEC:
		*ret_size = static_cast<size_t>(exec.exe_len) + exec.cwd_len + exec.args_len + exec.script_base_len +
			    exec.script_len + exec.interpreter_len;
		return exec.exe_len <= SL_PATH_MAX && exec.cwd_len <= SL_PATH_MAX && exec.args_len <= SL_ARGS_MAX &&
		       exec.script_base_len <= SL_PATH_MAX && exec.script_len <= SL_PATH_MAX &&
		       exec.interpreter_len <= SL_INTERPRETER_MAX;
	case SL_KIND_FILE_OPEN:
		*ret_size = static_cast<size_t>(open.path_len) + open.user_path_len;
		return open.path_len <= SL_PATH_MAX && open.user_path_len <= SL_PATH_MAX;
	case SL_KIND_CONNECT:
	case SL_KIND_LISTEN:
	case SL_KIND_SOCKET:
		*ret_size = static_cast<size_t>(connect.base_len) + connect.sockaddr_len;
		return connect.base_len <= SL_PATH_MAX && connect.sockaddr_len <= SL_SOCKADDR_MAX;
	case SL_KIND_EXEC_FAILED:
		*ret_size = static_cast<size_t>(failed.base_len) + failed.path_len;
		return failed.base_len <= SL_PATH_MAX && failed.path_len <= SL_PATH_MAX;
	case SL_KIND_FILE_CHANGE:
		*ret_size = static_cast<size_t>(change.base_len) + change.path_len + change.new_base_len + change.new_path_len;
		return change.base_len <= SL_PATH_MAX && change.path_len <= SL_PATH_MAX && change.new_base_len <= SL_PATH_MAX &&
		       change.new_path_len <= SL_PATH_MAX;
	case SL_KIND_STDIN:
		*ret_size = fixed.input.text_len;
		return fixed.input.text_len <= SL_INPUT_MAX;
	case SL_KIND_CGROUP:
		*ret_size = fixed.cgroup.path_len;
		return fixed.cgroup.path_len <= SL_PATH_MAX;
	case SL_KIND_DNS:
		*ret_size = fixed.dns.len;
		return fixed.dns.len <= SL_DNS_MAX;
	default:
		return true;
	}
}
