// SPDX-License-Identifier: Apache-2.0
#include "poll.h"

#include <cstdlib>
#include <cstring>
#include <utility>

/*
 * Node's headers for addons that must run on every version don't include uv.h; these functions are part of libuv's stable ABI and
 * exported by node itself. What could change is the number of the handle type, so that is checked when the addon is loaded.
 */
extern "C" {
struct uv_loop_s;
struct uv_handle_s;
typedef void (*sluice_uv_close_cb)(void *handle);
typedef void (*sluice_uv_poll_cb)(void *handle, int status, int events);
const char *uv_handle_type_name(int type);
size_t uv_handle_size(int type);
void *uv_handle_get_data(const void *handle);
void uv_handle_set_data(void *handle, void *data);
int uv_poll_init(struct uv_loop_s *loop, void *handle, int fd);
int uv_poll_start(void *handle, int events, sluice_uv_poll_cb cb);
int uv_poll_stop(void *handle);
void uv_close(void *handle, sluice_uv_close_cb cb);
}

static constexpr int UV_POLL_TYPE = 8;
static constexpr int UV_READABLE_EVENT = 1;

struct PollCallbacks {
	static void on_ready(void *handle, int, int)
	{
		Poll *poll = static_cast<Poll *>(uv_handle_get_data(handle));

		/* An error is ready too: whoever waits will meet it when it reads. */
		uv_poll_stop(handle);
		poll->ready_(poll->owner_);
	}

	static void on_closed(void *handle)
	{
		Poll *poll = static_cast<Poll *>(uv_handle_get_data(handle));
		std::shared_ptr<EnvState> state = poll->state_;

		delete poll;
		state->closing--;
		state->maybe_finish();
	}
};

Poll::Poll(std::shared_ptr<EnvState> state) : state_(std::move(state)), uv_(calloc(1, uv_handle_size(UV_POLL_TYPE)))
{
}

Poll::~Poll()
{
	free(uv_);
}

bool Poll::supported()
{
	const char *name = uv_handle_type_name(UV_POLL_TYPE);

	return name && !strcmp(name, "poll");
}

Poll *Poll::make(Napi::Env env, std::shared_ptr<EnvState> state, int fd, int *ret_error)
{
	struct uv_loop_s *loop = nullptr;

	*ret_error = ENOMEM;
	if (napi_get_uv_event_loop(env, &loop) != napi_ok)
		return nullptr;

	Poll *poll = new Poll(std::move(state));

	if (!poll->uv_) {
		delete poll;
		return nullptr;
	}
	int err = uv_poll_init(loop, poll->uv_, fd);

	if (err) {
		/* libuv did not take the handle, so it isn't closed either. */
		*ret_error = -err;
		delete poll;
		return nullptr;
	}
	uv_handle_set_data(poll->uv_, poll);
	return poll;
}

int Poll::start(Ready ready, void *owner)
{
	ready_ = ready;
	owner_ = owner;
	return -uv_poll_start(uv_, UV_READABLE_EVENT, PollCallbacks::on_ready);
}

void Poll::stop()
{
	uv_poll_stop(uv_);
}

void Poll::close()
{
	uv_poll_stop(uv_);
	state_->closing++;
	uv_close(uv_, PollCallbacks::on_closed);
}
