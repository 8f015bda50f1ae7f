// SPDX-License-Identifier: Apache-2.0
#include "doors.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "args.h"
#include "error.h"

/* include/uapi/asm-generic/socket.h: since 5.14. */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

namespace
{
/* A free port for UDP need not be free for TCP. */
constexpr int BIND_TRIES_MAX = 16;
constexpr int BACKLOG = 128;

struct Door {
	int udp = -1;
	int tcp = -1;
	uint16_t port = 0;

	void close()
	{
		if (udp >= 0)
			::close(udp);
		if (tcp >= 0)
			::close(tcp);
		udp = tcp = -1;
	}
};

struct Doors {
	int netns; /* in: a namespace */
	int err; /* a positive errno, or 0 */
	uint64_t cookie;
	Door ip4;
	Door ip6; /* closed: the namespace has no IPv6 */
};

union Address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

socklen_t loopback(int family, uint16_t port, Address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (family == AF_INET) {
		ret_address->v4.sin_family = AF_INET;
		ret_address->v4.sin_port = htons(port);
		ret_address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(ret_address->v4);
	}
	ret_address->v6.sin6_family = AF_INET6;
	ret_address->v6.sin6_port = htons(port);
	ret_address->v6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
	return sizeof(ret_address->v6);
}

/* A bound socket, or -1 with errno set. Loopback may be brought up later: then its address is nobody's yet. */
int bound(int family, int type, uint16_t port)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, err;
	Address address;
	socklen_t size = loopback(family, port, &address);

	if (fd < 0)
		return -1;
	if (family == AF_INET6 &&
	    (setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &on, sizeof(on)) || setsockopt(fd, SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on))))
		goto fail;
	if (family == AF_INET && setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on)))
		goto fail;
	if (!bind(fd, &address.any, size) && (type != SOCK_STREAM || !listen(fd, BACKLOG)))
		return fd;
fail:
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

/* 0 or a positive errno. One port for both. */
int open_door(int family, Door *ret_door)
{
	Address address;
	socklen_t size;
	int err = 0;

	for (int tries = 0; tries < BIND_TRIES_MAX; tries++) {
		ret_door->udp = bound(family, SOCK_DGRAM, 0);
		if (ret_door->udp < 0)
			return errno;
		size = sizeof(address);
		if (!getsockname(ret_door->udp, &address.any, &size)) {
			ret_door->port = ntohs(family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
			ret_door->tcp = bound(family, SOCK_STREAM, ret_door->port);
		}
		if (ret_door->tcp >= 0)
			return 0;
		err = errno;
		ret_door->close();
		if (err != EADDRINUSE)
			return err;
	}
	return err;
}

int cookie_of(int fd, uint64_t *ret_cookie)
{
	socklen_t size = sizeof(*ret_cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret_cookie, &size) ? errno : 0;
}

/* In a thread of its own, which alone is in the namespace, and ends there. */
void *enter_and_open(void *context)
{
	Doors *doors = static_cast<Doors *>(context);

	if (setns(doors->netns, CLONE_NEWNET)) {
		doors->err = errno;
		return nullptr;
	}
	doors->err = open_door(AF_INET, &doors->ip4);
	if (!doors->err)
		doors->err = cookie_of(doors->ip4.udp, &doors->cookie);
	if (doors->err)
		return nullptr;

	int err = open_door(AF_INET6, &doors->ip6);

	if (err && err != EAFNOSUPPORT && err != EADDRNOTAVAIL)
		doors->err = err;
	return nullptr;
}

Napi::Value door_object(Napi::Env env, const Door &door)
{
	if (door.tcp < 0)
		return env.Null();

	Napi::Object result = Napi::Object::New(env);

	result.Set("port", Napi::Number::New(env, door.port));
	result.Set("udp", Napi::Number::New(env, door.udp));
	result.Set("tcp", Napi::Number::New(env, door.tcp));
	return result;
}
} // namespace

Napi::Value netns_cookie(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;

	if (fd < 0)
		return throw_syscall(env, "making a socket of", "this network namespace", errno);

	int err = cookie_of(fd, &cookie);

	close(fd);
	if (err)
		return throw_syscall(env, "asking for the cookie of", "this network namespace", err);
	return Napi::BigInt::New(env, cookie);
}

Napi::Value doors_open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Doors doors = {};
	pthread_t thread;
	int64_t fd;

	if (!arg_integer(info, 0, "netns", 0, INT_MAX, &fd))
		return env.Undefined();
	doors.netns = static_cast<int>(fd);

	int err = pthread_create(&thread, nullptr, enter_and_open, &doors);

	if (!err)
		err = pthread_join(thread, nullptr);
	if (!err)
		err = doors.err;
	if (err) {
		doors.ip4.close();
		doors.ip6.close();
		return throw_syscall(env, "listening in", "another network namespace", err);
	}

	Napi::Object result = Napi::Object::New(env);

	result.Set("netns", Napi::BigInt::New(env, doors.cookie));
	result.Set("ip4", door_object(env, doors.ip4));
	result.Set("ip6", door_object(env, doors.ip6));
	return result;
}
