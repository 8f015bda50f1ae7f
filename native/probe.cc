// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "cgroup.h"
#include "error.h"

/* The discard port; nobody has to listen. */
static constexpr uint16_t PROBE_PORT = 9;
/* A child in a frozen cgroup never answers; moving there takes seconds where the machine has ten times its load. */
static constexpr int ANSWER_DEADLINE_MS = 8000;
/* Over loopback it is there when the send returns, or when the CPU comes to it. */
static constexpr int ARRIVAL_DEADLINE_MS = 2000;

namespace
{
enum Stage : int { STAGE_JOIN = 1, STAGE_SOCKET = 2, STAGE_REACH = 3 };

struct Answer {
	int stage;
	int err;
};
} // namespace

/* The end of a Unix socket's address that nobody is at: abstract, so that no file is looked for. */
static constexpr char PROBE_NAME[] = "\0sluice-probe";

static socklen_t put_target(int family, struct sockaddr_storage *ret_address)
{
	auto *v4 = reinterpret_cast<struct sockaddr_in *>(ret_address);
	auto *v6 = reinterpret_cast<struct sockaddr_in6 *>(ret_address);
	auto *local = reinterpret_cast<struct sockaddr_un *>(ret_address);

	*ret_address = {};
	ret_address->ss_family = static_cast<sa_family_t>(family);
	if (family == AF_UNIX) {
		memcpy(local->sun_path, PROBE_NAME, sizeof(PROBE_NAME));
		return offsetof(struct sockaddr_un, sun_path) + sizeof(PROBE_NAME);
	}
	if (family == AF_INET) {
		v4->sin_port = htons(PROBE_PORT);
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*v4);
	}
	v6->sin6_port = htons(PROBE_PORT);
	v6->sin6_addr = IN6ADDR_LOOPBACK_INIT;
	return sizeof(*v6);
}

/* Whether a datagram to a socket of its own arrives: what a hook on the way in could refuse. EPERM or 0; what can't be tried is none. */
static int hear_oneself(int family, int fd, const struct sockaddr *loopback, socklen_t size)
{
	struct sockaddr_storage own = {};
	struct sockaddr *address = reinterpret_cast<struct sockaddr *>(&own);
	int to = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd waiting = {to, POLLIN, 0};
	int err = 0;

	if (to < 0)
		return 0;
	memcpy(&own, loopback, size);
	/* The port is at the same place in both families. */
	reinterpret_cast<struct sockaddr_in *>(&own)->sin_port = 0;
	if (!bind(to, address, size) && !getsockname(to, address, &size)) {
		if (sendto(fd, "", 1, 0, address, size) < 0)
			err = errno == EPERM ? EPERM : 0;
		else if (poll(&waiting, 1, ARRIVAL_DEADLINE_MS) == 0)
			err = EPERM;
	}
	close(to);
	return err;
}

/*
 * An empty datagram by sendto, one to itself if it `hears`, then a connect, to where nobody has to be: what each kind of hook could refuse.
 * Returns a positive errno or 0; EPERM goes first.
 */
static int reach_nearby(int family, int fd, bool hears)
{
	struct sockaddr_storage target;
	socklen_t size = put_target(family, &target);
	const auto *address = reinterpret_cast<const struct sockaddr *>(&target);
	int sent = sendto(fd, "", 0, 0, address, size) < 0 ? errno : 0;
	int heard = hears && family != AF_UNIX ? hear_oneself(family, fd, address, size) : 0;
	int connected = connect(fd, address, size) ? errno : 0;

	if (heard)
		return heard;

	return sent == EPERM || !connected ? sent : connected;
}

/* The child, a copy of one thread of Node: system calls only, no allocation, no return. */
[[noreturn]] static void answer_and_exit(int cgroup, int family, bool hears, int out)
{
	Answer answer = {STAGE_JOIN, 0};
	int procs, fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	/* 0 is whoever writes it. */
	if (procs < 0 || write(procs, "0", 1) != 1) {
		answer.err = errno;
	} else {
		answer.stage = STAGE_SOCKET;
		fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			answer.err = errno;
		} else {
			answer.stage = STAGE_REACH;
			answer.err = reach_nearby(family, fd, hears);
		}
	}
	/* Nobody reads any more if this fails. */
	_exit(write(out, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
}

/* Waits for the child's answer and for its end. Returns a positive errno or 0. */
static int read_answer(pid_t child, int in, Answer *ret_answer)
{
	struct pollfd waiting = {in, POLLIN, 0};
	int ready, err = 0;

	do {
		ready = poll(&waiting, 1, ANSWER_DEADLINE_MS);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		err = errno;
	else if (ready == 0)
		err = ETIMEDOUT;
	else if (read(in, ret_answer, sizeof(*ret_answer)) != sizeof(*ret_answer))
		err = ECHILD;
	kill(child, SIGKILL);
	while (waitpid(child, nullptr, 0) < 0 && errno == EINTR)
		;
	return err;
}

static int run_probe(int cgroup, int family, bool hears, Answer *ret_answer)
{
	sigset_t all, before;
	int pipe_fds[2];
	pid_t child;
	int err;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return errno;
	/* Node's handlers write to pipes that the child shares with it: there they must not run. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child = fork();
	err = errno;
	if (child == 0)
		answer_and_exit(cgroup, family, hears, pipe_fds[1]);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	close(pipe_fds[1]);
	if (child > 0)
		err = read_answer(child, pipe_fds[0], ret_answer);
	close(pipe_fds[0]);
	return err;
}

Napi::Value probe_reach(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Answer answer = {};
	int64_t family;
	bool hears = false;
	int cgroup = cgroup_fd(info, 0);

	if (cgroup < 0 || !arg_integer(info, 1, "family", AF_UNIX, AF_INET6, &family))
		return env.Undefined();
	if (info.Length() > 2 && !arg_boolean(info, 2, "hears", &hears))
		return env.Undefined();
	if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
		return throw_argument(env, "family", "must be 1 (Unix), 2 (IPv4) or 10 (IPv6)");

	int err = run_probe(cgroup, static_cast<int>(family), hears, &answer);

	if (err)
		return throw_syscall(env, "running the", "probe", err);
	if (answer.stage == STAGE_JOIN)
		return throw_syscall(env, "moving the probe into its", "cgroup", answer.err);
	/* A machine without IPv6 has nothing to connect, and nothing that could be refused. */
	if (answer.stage == STAGE_SOCKET && answer.err != EAFNOSUPPORT)
		return throw_syscall(env, "making the probe's", "socket", answer.err);
	return Napi::Number::New(env, answer.err);
}
