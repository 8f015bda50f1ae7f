// SPDX-License-Identifier: Apache-2.0
#include "event-encoder.h"

#include <cstring>

#include "record-shape.h"
#include "wire-writer.h"

namespace
{
/* Field numbers of sensor.proto. */
constexpr uint32_t BATCH_EVENTS = 15;

/* What the numbers of a usual event come to, in bytes: a guess, to keep the right room for a length. */
constexpr size_t COMMON_USUAL = 56;
constexpr size_t FACTS_USUAL = 20;

/* Bytes of a JudgedFacts, mostly. */
constexpr size_t JUDGED_EXPECTED = 8;

/* One record whose lengths were all checked. */
struct Record {
	const Fixed *fixed;
	const uint8_t *data; /* its byte strings */
	size_t strings; /* bytes of them */
};

void exec_facts(Writer &out, const Record &record)
{
	const struct sl_exec &exec = record.fixed->exec;
	const uint8_t *cwd = record.data + exec.exe_len;
	const uint8_t *script_base = cwd + exec.cwd_len + exec.args_len;
	const uint8_t *script = script_base + exec.script_base_len;

	out.bytes(1, record.data, exec.exe_len);
	out.bytes(2, cwd, exec.cwd_len);
	out.bytes(3, cwd + exec.cwd_len, exec.args_len);
	out.varint(4, exec.argc);
	out.varint(5, exec.args_bytes);
	out.varint(6, exec.flags);
	out.varint(7, exec.exe_inode);
	out.varint(8, exec.exe_dev);
	out.varint(9, exec.exe_flags);
	out.varint(10, exec.cwd_flags);
	out.bytes(11, script_base, exec.script_base_len);
	out.bytes(12, script, exec.script_len);
	out.bytes(13, script + exec.script_len, exec.interpreter_len);
	out.varint(14, exec.script_base_flags);
}

void file_open_facts(Writer &out, const Record &record)
{
	const struct sl_file_open &open = record.fixed->file_open;

	out.bytes(1, record.data, open.path_len);
	out.bytes(2, record.data + open.path_len, open.user_path_len);
	out.varint(3, open.flags);
	out.varint(4, open.error);
	out.varint(5, open.created != 0);
	out.varint(6, open.inode);
	out.varint(7, open.dev);
	out.varint(8, open.path_flags);
	out.varint(9, open.repeats);
	out.fixed64(10, open.first_ns);
	out.fixed64(11, open.last_ns);
}

/* Left out where nobody has a policy, which is the rule. */
void judged_facts(Writer &out, const struct sl_connect &connect)
{
	uint8_t *begin = out.begin_message(16, JUDGED_EXPECTED);

	out.varint(1, connect.verdict);
	out.varint(2, connect.why);
	out.varint(3, connect.rule);
	out.varint(4, connect.generation);
	out.end_message(begin, JUDGED_EXPECTED);
}

void connect_facts(Writer &out, const Record &record)
{
	const struct sl_connect &connect = record.fixed->connect;

	out.varint(1, connect.cookie);
	out.bytes(2, connect.addr, sizeof(connect.addr));
	out.varint(3, connect.port);
	out.varint(4, connect.local_port);
	out.varint(5, connect.family);
	out.varint(6, connect.protocol);
	out.varint(7, connect.via);
	out.varint(8, connect.error);
	out.varint(9, connect.type);
	out.varint(10, connect.flags);
	out.varint(11, connect.count);
	out.fixed64(12, connect.last_ns);
	out.bytes(13, record.data, connect.base_len);
	out.varint(14, connect.base_flags);
	out.bytes(15, record.data + connect.base_len, connect.sockaddr_len);
	if (connect.generation || connect.verdict > SL_VERDICT_ALLOW)
		judged_facts(out, connect);
}

void connection_closed_facts(Writer &out, const Record &record)
{
	const struct sl_closed &closed = record.fixed->closed;

	out.varint(1, closed.cookie);
	out.varint(2, closed.bytes_sent);
	out.varint(3, closed.bytes_received);
	out.varint(4, closed.duration_ns);
	out.bytes(5, closed.addr, sizeof(closed.addr));
	out.varint(6, closed.port);
	out.varint(7, closed.local_port);
	out.varint(8, closed.incoming != 0);
}

void exec_failed_facts(Writer &out, const Record &record)
{
	const struct sl_exec_failed &failed = record.fixed->exec_failed;

	out.bytes(1, record.data, failed.base_len);
	out.bytes(2, record.data + failed.base_len, failed.path_len);
	out.varint(3, failed.base_flags);
	out.varint(4, failed.error);
}

void file_change_facts(Writer &out, const Record &record)
{
	const struct sl_file_change &change = record.fixed->file_change;
	const uint8_t *path = record.data + change.base_len;
	const uint8_t *new_base = path + change.path_len;

	out.varint(1, change.op);
	out.bytes(2, record.data, change.base_len);
	out.bytes(3, path, change.path_len);
	out.bytes(4, new_base, change.new_base_len);
	out.bytes(5, new_base + change.new_base_len, change.new_path_len);
	out.varint(6, change.base_flags);
	out.varint(7, change.new_base_flags);
	out.varint(8, change.error);
}

void stdin_facts(Writer &out, const Record &record)
{
	const struct sl_stdin &input = record.fixed->input;

	out.bytes(1, record.data, input.text_len);
	out.varint(2, input.bytes);
	out.varint(3, input.flags);
}

void cgroup_facts(Writer &out, const Record &record)
{
	const struct sl_cgroup &cgroup = record.fixed->cgroup;

	out.varint(1, cgroup.op);
	out.bytes(2, record.data, cgroup.path_len);
	out.varint(3, cgroup.path_flags);
	out.varint(4, cgroup.target);
	out.varint(5, cgroup.actor);
	out.varint(6, cgroup.flags);
}

void quarantine_facts(Writer &out, const Record &record)
{
	const struct sl_quarantine &quarantine = record.fixed->quarantine;

	out.varint(1, quarantine.cause);
	out.varint(2, quarantine.subject);
	out.varint(3, quarantine.stopped != 0);
}

void dns_facts(Writer &out, const Record &record)
{
	const struct sl_dns &dns = record.fixed->dns;

	out.bytes(1, record.data, dns.len);
	out.varint(2, dns.bytes);
	out.bytes(3, dns.resolver, sizeof(dns.resolver));
	out.varint(4, dns.protocol);
	out.varint(5, dns.tcp_seq);
	out.varint(6, dns.cookie);
	out.varint(7, dns.local_port);
}

void facts(Writer &out, const Record &record)
{
	switch (record.fixed->hdr.kind) {
	case SL_KIND_EXEC:
		exec_facts(out, record);
		break;
	case SL_KIND_FORK:
		out.varint(1, record.fixed->fork.child_pid);
		out.fixed64(2, record.fixed->fork.child_start_time_ns);
		break;
	case SL_KIND_EXIT:
		out.varint(1, record.fixed->exit.status);
		break;
	case SL_KIND_FILE_OPEN:
		file_open_facts(out, record);
		break;
	case SL_KIND_CONNECT:
	case SL_KIND_LISTEN:
	case SL_KIND_SOCKET:
		connect_facts(out, record);
		break;
	case SL_KIND_CONNECTION_CLOSED:
		connection_closed_facts(out, record);
		break;
	case SL_KIND_EXEC_FAILED:
		exec_failed_facts(out, record);
		break;
	case SL_KIND_FILE_CHANGE:
		file_change_facts(out, record);
		break;
	case SL_KIND_STDIN:
		stdin_facts(out, record);
		break;
	case SL_KIND_CGROUP:
		cgroup_facts(out, record);
		break;
	case SL_KIND_QUARANTINE:
		quarantine_facts(out, record);
		break;
	case SL_KIND_DNS:
		dns_facts(out, record);
		break;
	}
}

uint64_t happened_by(const Fixed &fixed)
{
	uint64_t more = fixed.hdr.kind == SL_KIND_FILE_OPEN ? fixed.file_open.repeats : 0;

	more = fixed.hdr.kind == SL_KIND_CONNECT ? fixed.connect.count : more;
	return more ? more : 1;
}

void common(Writer &out, const struct sl_event_hdr &hdr, uint64_t happened)
{
	out.varint(1, hdr.kind);
	out.fixed64(2, hdr.time_ns);
	out.varint(3, hdr.cpu_seq);
	out.varint(4, hdr.sandbox);
	out.varint(14, happened > 1 ? happened : 0);
	out.varint(5, hdr.pid);
	out.varint(6, hdr.tid);
	out.varint(7, hdr.ppid);
	out.varint(8, hdr.uid);
	out.varint(9, hdr.gid);
	out.varint(10, hdr.exec_count);
	out.fixed64(11, hdr.start_time_ns);
	out.varint(12, hdr.cgroup_id);
	out.varint(13, hdr.cpu);
}

/*
 * The ring's record may be longer than what is used of it (size classes), but the used size must add up exactly. Records in a ring
 * are aligned and read in place; the fixed part of one that isn't is copied.
 */
bool read_record(const uint8_t *bytes, size_t size, Fixed *copy, Record *ret_record, Shape *ret_shape)
{
	const Fixed *fixed = reinterpret_cast<const Fixed *>(bytes);

	if (size < sizeof(struct sl_event_hdr))
		return false;
	if (reinterpret_cast<uintptr_t>(bytes) % alignof(Fixed)) {
		memcpy(static_cast<void *>(copy), bytes, size < sizeof(*copy) ? size : sizeof(*copy));
		fixed = copy;
	}
	*ret_shape = shape_of(fixed->hdr.kind);
	if (!ret_shape->fixed || fixed->hdr.size > size || fixed->hdr.size < ret_shape->fixed)
		return false;
	ret_record->fixed = fixed;
	ret_record->data = bytes + ret_shape->fixed;
	return data_size(*fixed, &ret_record->strings) && ret_record->strings == fixed->hdr.size - ret_shape->fixed;
}
} // namespace

EncodedEvent encode_event(const uint8_t *bytes, size_t size, uint8_t *out, size_t room)
{
	Record record;
	Shape shape;
	Fixed copy;

	if (!read_record(bytes, size, &copy, &record, &shape))
		return {0, false, 0, 1};

	uint64_t happened = happened_by(*record.fixed);

	if (record.strings + ENCODED_OVERHEAD_MAX > room)
		return {record.strings + ENCODED_OVERHEAD_MAX, false, record.fixed->hdr.time_ns, happened};

	Writer writer(out);
	size_t facts_expected = record.strings + FACTS_USUAL;
	size_t event_expected = facts_expected + COMMON_USUAL;
	uint8_t *event = writer.begin_message(BATCH_EVENTS, event_expected);

	common(writer, record.fixed->hdr, happened);

	uint8_t *inner = writer.begin_message(shape.field, facts_expected);

	facts(writer, record);
	writer.end_message(inner, facts_expected);
	writer.end_message(event, event_expected);
	return {static_cast<size_t>(writer.at - out), true, record.fixed->hdr.time_ns, happened};
}
