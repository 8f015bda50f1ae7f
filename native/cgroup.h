/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup v2 directory, held by a file descriptor: everything is done relative to it, so that a rename can't redirect it. */
#ifndef SLUICE_CGROUP_H
#define SLUICE_CGROUP_H

#include <napi.h>

/* openCgroup(path, {create}) */
Napi::Value cgroup_open(const Napi::CallbackInfo &info);

/* The directory's fd of the cgroup that is argument `index`, or -1 with an exception pending. */
int cgroup_fd(const Napi::CallbackInfo &info, size_t index);

#endif
