// SPDX-License-Identifier: Apache-2.0
/*
 * Ends TCP connections by sock_diag (SOCK_DESTROY, Linux 4.5): the kernel sends a reset, and who has the socket gets ECONNABORTED. A request is for
 * the network namespace that its socket was made in, so a thread of its own enters that, and ends with it.
 */
#include "reset.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "abi.h"
#include "args.h"
#include "error.h"

/* The kernel answers at once; this is for one that does not. */
static constexpr int ANSWER_DEADLINE_S = 1;

namespace
{
struct Work {
	std::string netns;
	const struct sl_walked_connection *connections;
	size_t count;
	/* Of the whole; then nothing was tried. */
	int err;
	uint32_t failed;
	int last_err;
};

struct Request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 diag;
};

struct Answer {
	struct nlmsghdr head;
	struct nlmsgerr error;
};

void put_address(uint32_t *to, const uint8_t *addr, uint16_t family)
{
	if (family == AF_INET)
		memcpy(to, addr + 12, 4);
	else
		memcpy(to, addr, 16);
}

Request request_for(const struct sl_walked_connection &connection, uint32_t number)
{
	Request request = {};
	struct inet_diag_sockid &id = request.diag.id;

	request.head.nlmsg_len = sizeof(request);
	request.head.nlmsg_type = SOCK_DESTROY;
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request.head.nlmsg_seq = number;
	request.diag.sdiag_family = static_cast<uint8_t>(connection.family);
	request.diag.sdiag_protocol = IPPROTO_TCP;
	request.diag.idiag_states = ~0u;
	id.idiag_sport = htons(connection.local_port);
	id.idiag_dport = htons(connection.port);
	put_address(id.idiag_src, connection.local_addr, connection.family);
	put_address(id.idiag_dst, connection.addr, connection.family);
	id.idiag_if = connection.device;
	id.idiag_cookie[0] = static_cast<uint32_t>(connection.cookie);
	id.idiag_cookie[1] = static_cast<uint32_t>(connection.cookie >> 32);
	return request;
}

/* Returns 0 or a positive errno. */
int ask(int fd, const Request &request)
{
	Answer answer = {};
	ssize_t size;

	if (send(fd, &request, sizeof(request), 0) < 0)
		return errno;
	do {
		do {
			size = recv(fd, &answer, sizeof(answer), 0);
		} while (size < 0 && errno == EINTR);
		if (size < 0)
			return errno;
	} while (answer.head.nlmsg_seq != request.head.nlmsg_seq);
	if (static_cast<size_t>(size) < sizeof(answer.head) + sizeof(answer.error.error) || answer.head.nlmsg_type != NLMSG_ERROR)
		return EPROTO;
	return -answer.error.error;
}

void reset_all(int fd, Work *work)
{
	for (size_t i = 0; i < work->count; i++) {
		int err = ask(fd, request_for(work->connections[i], static_cast<uint32_t>(i + 1)));

		/* It is over, or the same addresses have another one by now. */
		if (!err || err == ENOENT || err == ESTALE)
			continue;
		work->failed++;
		work->last_err = err;
	}
}

void *run(void *argument)
{
	struct timeval deadline = {ANSWER_DEADLINE_S, 0};
	Work *work = static_cast<Work *>(argument);
	int netns = open(work->netns.c_str(), O_RDONLY | O_CLOEXEC);
	int fd = -1;

	if (netns < 0 || setns(netns, CLONE_NEWNET))
		work->err = errno;
	else
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (netns >= 0)
		close(netns);
	if (work->err)
		return nullptr;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)))
		work->err = errno;
	else
		reset_all(fd, work);
	if (fd >= 0)
		close(fd);
	return nullptr;
}
} // namespace

Napi::Value reset_connections(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Work work = {};
	pthread_t thread;
	Bytes bytes;

	if (!arg_path(info, 0, "netns", &work.netns) || !arg_bytes(info, 1, "connections", &bytes))
		return env.Undefined();
	if (bytes.size % sizeof(struct sl_walked_connection) || reinterpret_cast<uintptr_t>(bytes.data) % alignof(uint64_t))
		return throw_argument(env, "connections", "must be whole structs, aligned to 8 bytes");
	work.connections = reinterpret_cast<const struct sl_walked_connection *>(bytes.data);
	work.count = bytes.size / sizeof(struct sl_walked_connection);

	int err = pthread_create(&thread, nullptr, run, &work);

	if (err)
		return throw_syscall(env, "starting a thread for", work.netns, err);
	pthread_join(thread, nullptr);
	if (work.err)
		return throw_syscall(env, "resetting connections in", work.netns, work.err);

	Napi::Object result = Napi::Object::New(env);

	result.Set("failed", Napi::Number::New(env, work.failed));
	result.Set("errno", Napi::Number::New(env, work.last_err));
	return result;
}
