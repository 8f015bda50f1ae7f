// SPDX-License-Identifier: Apache-2.0
#include "socket.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include "args.h"
#include "error.h"

/* include/uapi/asm-generic/socket.h: since 4.13 and 6.5. */
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Longest text of a datagram: what sd_notify(3) sends is far below it. */
#define DATAGRAM_MAX 4096

namespace
{
/* The supplementary groups at connect. False with errno set if the kernel does not say. */
bool peer_groups(int fd, std::vector<gid_t> *ret_groups)
{
	socklen_t size = 0;

	/* The answer to too little room is how much it takes. */
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, nullptr, &size))
		return true;
	if (errno != ERANGE)
		return false;
	ret_groups->resize(size / sizeof(gid_t));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret_groups->data(), &size))
		return false;
	ret_groups->resize(size / sizeof(gid_t));
	return true;
}

/* Whether the process that connected still lives; null where the kernel can't tell (before 6.5). */
Napi::Value peer_alive(Napi::Env env, int fd)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size)) {
		if (errno == ENOPROTOOPT)
			return env.Null();
		/* One that is reaped has no pidfd before 6.16. */
		return Napi::Boolean::New(env, false);
	}

	struct pollfd wait = {.fd = pidfd, .events = POLLIN, .revents = 0};
	/* Readable once the process is a zombie; a failed poll is no proof of life. */
	int ready = poll(&wait, 1, 0);

	close(pidfd);
	return Napi::Boolean::New(env, ready == 0);
}
} // namespace

Napi::Value socket_peer(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct ucred peer = {};
	socklen_t size = sizeof(peer);
	int domain = 0;
	socklen_t domain_size = sizeof(domain);
	int64_t fd;

	if (!arg_integer(info, 0, "fd", 0, INT_MAX, &fd))
		return env.Undefined();
	if (getsockopt(static_cast<int>(fd), SOL_SOCKET, SO_DOMAIN, &domain, &domain_size))
		return throw_syscall(env, "asking for the peer of fd", std::to_string(fd), errno);
	/* On other families the kernel answers pid 0 and uid -1 and calls it a success. */
	if (domain != AF_UNIX)
		return throw_argument(env, "fd", "must be a unix socket");
	if (getsockopt(static_cast<int>(fd), SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return throw_syscall(env, "asking for the peer of fd", std::to_string(fd), errno);
	/* A listener's own, or a socket that never connected. */
	if (peer.uid == static_cast<uid_t>(-1))
		return throw_syscall(env, "asking for the peer of fd", std::to_string(fd), ENOTCONN);

	std::vector<gid_t> groups;

	if (!peer_groups(static_cast<int>(fd), &groups))
		return throw_syscall(env, "asking for the groups of the peer of fd", std::to_string(fd), errno);

	Napi::Object result = Napi::Object::New(env);
	Napi::Array list = Napi::Array::New(env, groups.size());

	for (size_t i = 0; i < groups.size(); i++)
		list.Set(static_cast<uint32_t>(i), Napi::Number::New(env, groups[i]));
	result.Set("pid", Napi::Number::New(env, peer.pid));
	result.Set("uid", Napi::Number::New(env, peer.uid));
	result.Set("gid", Napi::Number::New(env, peer.gid));
	result.Set("groups", list);
	result.Set("alive", peer_alive(env, static_cast<int>(fd)));
	return result;
}

Napi::Value socket_send_datagram(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_un address = {};
	std::string path;
	std::string text;

	if (!arg_string(info, 0, "path", sizeof(address.sun_path) - 1, &path) ||
	    !arg_string(info, 1, "text", DATAGRAM_MAX, &text))
		return env.Undefined();
	if (path[0] != '/' && path[0] != '@')
		return throw_argument(env, "path", "must be absolute, or begin with @ for an abstract one");

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return throw_syscall(env, "making a socket for", path, errno);
	address.sun_family = AF_UNIX;
	std::copy(path.begin(), path.end(), address.sun_path);
	if (path[0] == '@')
		address.sun_path[0] = '\0';

	/* An abstract name has no end but its length. */
	socklen_t size = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + path.size() + (path[0] == '/'));
	ssize_t sent = sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<struct sockaddr *>(&address), size);
	int err = errno;

	close(fd);
	return sent < 0 ? throw_syscall(env, "sending to", path, err) : env.Undefined();
}
