/* SPDX-License-Identifier: Apache-2.0 */
/* An exclusive lock on a file, held until `release` or the end of the process: `lockFile(path)`. The file is left where it is. */
#ifndef SLUICE_LOCK_H
#define SLUICE_LOCK_H

#include <napi.h>

Napi::Value lock_file(const Napi::CallbackInfo &info);

/* The same on a folder that is there, in any file system: `lockFolder(path)`. */
Napi::Value lock_folder(const Napi::CallbackInfo &info);

#endif
