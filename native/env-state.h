/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one environment (the main thread, or one worker) has open. A JavaScript object that stands for something native is a plain
 * object whose functions share the ownership of a Handle: whatever a caller does with `this`, prototypes or constructors, no
 * function can be run on the wrong thing. At the end of the environment one cleanup hook closes all handles and waits for libuv
 * to let go of theirs.
 */
#ifndef SLUICE_ENV_STATE_H
#define SLUICE_ENV_STATE_H

#include <cstddef>
#include <memory>
#include <set>

#include <napi.h>

struct EnvState;

/* Something that is open until it is closed, by its owner, by the collector, or by the end of the environment. */
class Handle
{
public:
	explicit Handle(std::shared_ptr<EnvState> state);
	virtual ~Handle();
	Handle(const Handle &) = delete;
	Handle &operator=(const Handle &) = delete;

	/* Any number of times. Every subclass calls its own in its destructor. */
	virtual void close() = 0;

protected:
	std::shared_ptr<EnvState> state_;
};

struct EnvState {
	std::set<Handle *> handles;
	/* Handles that live although JavaScript dropped them: armed readers and held locks. */
	std::set<std::shared_ptr<Handle>> kept;
	/* libuv handles whose close callback has not run yet. */
	size_t closing = 0;
	bool ending = false;
	napi_async_cleanup_hook_handle hook = nullptr;

	/* Ends the cleanup hook once nothing of ours is left in the loop. */
	void maybe_finish();
};

/* The state of `env`, made at its first call. */
std::shared_ptr<EnvState> env_state(Napi::Env env);

/* Adds function `name` to `object`; `body` is a callable that takes a CallbackInfo and returns a Napi::Value. */
template <typename Body> void add_method(Napi::Object object, const char *name, Body body)
{
	object.Set(name, Napi::Function::New(object.Env(), body, name));
}

#endif
