/* SPDX-License-Identifier: Apache-2.0 */
/* mountpoint - where the file system of an open folder is mounted: kubelet finds the device by it. */
#pragma once
#include "base/err.h"

/* @ret: caller frees. */
_must_use_ int mountpoint_of(int dirfd, char **ret, struct err *err);
