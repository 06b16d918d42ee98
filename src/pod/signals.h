/* SPDX-License-Identifier: Apache-2.0 */
/* signals - CRI's Signal enum, image configs' names, and Linux' numbers. Pure. */
#pragma once
#include "pod/cri.h"

/* 0 for RUNTIME_DEFAULT, -1 for what is no signal. */
int signal_from_cri(CRI(Signal) s);
/* RUNTIME_DEFAULT when CRI has no name for @number. */
CRI(Signal) signal_to_cri(int number);
/* "SIGTERM", "TERM", "15", "SIGRTMIN+3", "RTMAX-1"; -1 for what is none. */
int signal_from_name(const char *name);
