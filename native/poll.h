/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A one-shot wait for a file descriptor on the environment's own loop (uv_poll). Heap-allocated and owned by libuv once closed:
 * `close` lets go of it, and it deletes itself when the loop has.
 */
#ifndef SLUICE_POLL_H
#define SLUICE_POLL_H

#include <memory>

#include "env-state.h"

class Poll
{
public:
	using Ready = void (*)(void *owner);

	/* Checks that this libuv numbers its handles as we do. Once, when the addon is loaded. */
	static bool supported();

	/* Null if libuv does not take `fd`; then *ret_error is a positive errno. `fd` stays the caller's. */
	static Poll *make(Napi::Env env, std::shared_ptr<EnvState> state, int fd, int *ret_error);

	/* Calls ready(owner) once when the fd is readable. Returns a positive errno or 0. */
	int start(Ready ready, void *owner);
	void stop();

	/* The caller must not use the Poll after this. */
	void close();

private:
	Poll(std::shared_ptr<EnvState> state);
	~Poll();
	friend struct PollCallbacks;

	std::shared_ptr<EnvState> state_;
	void *uv_;
	Ready ready_ = nullptr;
	void *owner_ = nullptr;
};

/*
 * For a `Ready`: calls the function that waited, once. `let_go` runs before the call, which may wait again, and may be what
 * kept the owner alive: who calls this holds a reference to it.
 */
template <typename LetGo> void call_waiting(Napi::FunctionReference *waiting, LetGo let_go)
{
	Napi::Env env = waiting->Env();
	Napi::HandleScope scope(env);
	Napi::Function ready = waiting->Value();

	waiting->Reset();
	let_go();
	ready.MakeCallback(env.Global(), 0, nullptr);
	if (env.IsExceptionPending())
		napi_fatal_exception(env, env.GetAndClearPendingException().Value());
}

#endif
