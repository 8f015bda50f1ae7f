// SPDX-License-Identifier: Apache-2.0
#include "env-state.h"

#include <utility>
#include <vector>

Handle::Handle(std::shared_ptr<EnvState> state) : state_(std::move(state))
{
	state_->handles.insert(this);
}

Handle::~Handle()
{
	state_->handles.erase(this);
}

void EnvState::maybe_finish()
{
	napi_async_cleanup_hook_handle finished = hook;

	if (!ending || closing > 0 || !finished)
		return;
	hook = nullptr;
	napi_remove_async_cleanup_hook(finished);
}

/* Runs once, when the environment ends. */
static void end_environment(napi_async_cleanup_hook_handle, void *data)
{
	/* The owner is the instance data, which outlives every cleanup hook. */
	std::shared_ptr<EnvState> state = *static_cast<std::shared_ptr<EnvState> *>(data);
	std::vector<Handle *> open(state->handles.begin(), state->handles.end());
	/* Held until all are closed: closing one gives up the reference that may be its last. */
	std::set<std::shared_ptr<Handle>> kept = state->kept;

	state->ending = true;
	for (Handle *handle : open) {
		/* Closing one may have released another. */
		if (state->handles.count(handle))
			handle->close();
	}
	state->kept.clear();
	state->maybe_finish();
}

std::shared_ptr<EnvState> env_state(Napi::Env env)
{
	using Owner = std::shared_ptr<EnvState>;
	Owner *owner = env.GetInstanceData<Owner>();

	if (!owner) {
		owner = new Owner(std::make_shared<EnvState>());
		env.SetInstanceData<Owner>(owner);
		napi_add_async_cleanup_hook(env, end_environment, owner, &(*owner)->hook);
	}
	return *owner;
}
