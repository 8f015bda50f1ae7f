// SPDX-License-Identifier: Apache-2.0
/* Descriptors from one process of ours to another, with a text that says what they are: one datagram each, over a Unix socket. */
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "args.h"
#include "doors.h"
#include "env-state.h"
#include "error.h"
#include "poll.h"

namespace
{
constexpr size_t TEXT_MAX = 4096;
constexpr size_t FDS_MAX = 8;
constexpr mode_t OWNER_ONLY = 0600;

union Control {
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

bool arg_unix_path(const Napi::CallbackInfo &info, struct sockaddr_un *ret_address, std::string *ret_path)
{
	if (!arg_path(info, 0, "path", ret_path))
		return false;
	if (ret_path->size() >= sizeof(ret_address->sun_path)) {
		throw_argument(info.Env(), "path", "is too long for a socket");
		return false;
	}
	ret_address->sun_family = AF_UNIX;
	memcpy(ret_address->sun_path, ret_path->c_str(), ret_path->size() + 1);
	return true;
}

/* The descriptors in the array at `index`. */
bool arg_fds(const Napi::CallbackInfo &info, size_t index, int *ret_fds, size_t *ret_count)
{
	if (info.Length() <= index || !info[index].IsArray()) {
		throw_argument(info.Env(), "fds", "must be an array");
		return false;
	}

	Napi::Array list = info[index].As<Napi::Array>();

	if (list.Length() > FDS_MAX) {
		throw_argument(info.Env(), "fds", "are too many");
		return false;
	}
	for (uint32_t i = 0; i < list.Length(); i++) {
		Napi::Value each = list.Get(i);
		int64_t fd = each.IsNumber() ? each.As<Napi::Number>().Int64Value() : -1;

		if (fd < 0 || fd > INT_MAX) {
			throw_argument(info.Env(), "fds", "must be descriptors");
			return false;
		}
		ret_fds[i] = static_cast<int>(fd);
	}
	*ret_count = list.Length();
	return true;
}

class Mailbox : public Handle, public std::enable_shared_from_this<Mailbox>
{
public:
	Mailbox(std::shared_ptr<EnvState> state, int fd) : Handle(std::move(state)), fd_(fd)
	{
	}

	~Mailbox() override
	{
		close();
	}

	void close() override
	{
		if (poll_)
			poll_->close();
		poll_ = nullptr;
		callback_.Reset();
		if (fd_ >= 0)
			::close(fd_);
		fd_ = -1;
	}

	/* What the collector must not take while somebody waits for it. */
	void closed_by_owner()
	{
		close();
		state_->kept.erase(shared_from_this());
	}

	Napi::Value arm(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Function ready;
		int err = 0;

		if (fd_ < 0)
			return throw_closed(env, "mailbox");
		if (!arg_function(info, 0, "ready", &ready))
			return env.Undefined();
		if (!poll_)
			poll_ = Poll::make(env, state_, fd_, &err);
		if (!poll_)
			return throw_syscall(env, "waiting for the", "mailbox", err);
		callback_ = Napi::Persistent(ready);
		err = poll_->start(on_ready, this);
		if (err) {
			callback_.Reset();
			return throw_syscall(env, "waiting for the", "mailbox", err);
		}
		state_->kept.insert(shared_from_this());
		return env.Undefined();
	}

	Napi::Value receive(const Napi::CallbackInfo &info);

private:
	static void on_ready(void *owner)
	{
		std::shared_ptr<Mailbox> self = static_cast<Mailbox *>(owner)->shared_from_this();

		call_waiting(&self->callback_, [&self] { self->state_->kept.erase(self); });
	}

	int fd_;
	Poll *poll_ = nullptr;
	Napi::FunctionReference callback_;
};

Napi::Array received_fds(Napi::Env env, struct msghdr *message)
{
	Napi::Array result = Napi::Array::New(env);
	uint32_t count = 0;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= part->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + at, sizeof(fd));
			result.Set(count++, Napi::Number::New(env, fd));
		}
	}
	return result;
}

Napi::Value Mailbox::receive(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Control control = {};
	char text[TEXT_MAX];
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {};
	ssize_t got;

	if (fd_ < 0)
		return throw_closed(env, "mailbox");
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = control.bytes;
	message.msg_controllen = sizeof(control.bytes);
	got = recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? env.Null() : throw_syscall(env, "reading the", "mailbox", errno);

	Napi::Object result = Napi::Object::New(env);

	result.Set("text", Napi::String::New(env, text, static_cast<size_t>(got)));
	result.Set("fds", received_fds(env, &message));
	return result;
}
} // namespace

Napi::Value fds_send(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_un address = {};
	Control control = {};
	struct msghdr message = {};
	std::string path, text;
	int fds[FDS_MAX];
	size_t count = 0;

	if (!arg_unix_path(info, &address, &path) || !arg_string(info, 1, "text", TEXT_MAX, &text) ||
	    !arg_fds(info, 2, fds, &count))
		return env.Undefined();

	struct iovec part = {.iov_base = text.data(), .iov_len = text.size()};

	message.msg_name = &address;
	message.msg_namelen = sizeof(address);
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));

		struct cmsghdr *head = CMSG_FIRSTHDR(&message);

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	}

	int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (from < 0)
		return throw_syscall(env, "making a socket for", path, errno);

	ssize_t sent = sendmsg(from, &message, MSG_NOSIGNAL);
	int err = errno;

	close(from);
	return sent < 0 ? throw_syscall(env, "sending to", path, err) : env.Undefined();
}

Napi::Value mailbox_open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_un address = {};
	std::string path;

	if (!arg_unix_path(info, &address, &path))
		return env.Undefined();

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return throw_syscall(env, "making the mailbox", path, errno);
	/* Nobody can come between the two: the folder is its owner's alone to change. */
	if ((unlink(path.c_str()) && errno != ENOENT) ||
	    bind(fd, reinterpret_cast<struct sockaddr *>(&address), sizeof(address)) || chmod(path.c_str(), OWNER_ONLY)) {
		int err = errno;

		close(fd);
		return throw_syscall(env, "making the mailbox", path, err);
	}

	auto mailbox = std::make_shared<Mailbox>(env_state(env), fd);
	Napi::Object result = Napi::Object::New(env);

	add_method(result, "arm", [mailbox](const Napi::CallbackInfo &call) { return mailbox->arm(call); });
	add_method(result, "receive", [mailbox](const Napi::CallbackInfo &call) { return mailbox->receive(call); });
	add_method(result, "close", [mailbox](const Napi::CallbackInfo &call) -> Napi::Value {
		mailbox->closed_by_owner();
		return call.Env().Undefined();
	});
	return result;
}
