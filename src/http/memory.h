/* SPDX-License-Identifier: Apache-2.0 */
/* memory - curl's memory, which is wiped when it is given back: requests are put together in it, with Authorization,
 * and a core dump of us must not have that. Private to http/. */
#pragma once
#include <curl/curl.h>

CURLcode memory_global_init(void); /* curl_global_init() */
