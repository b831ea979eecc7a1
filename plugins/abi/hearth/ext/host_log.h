/* "hearth.host.log/0": a line for the daemon's log. Never put the user's code into it. */
#ifndef HEARTH_EXT_HOST_LOG_H
#define HEARTH_EXT_HOST_LOG_H

#include <stdint.h>

#include "hearth/host.h"
#include "hearth/text.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_HOST_LOG "hearth.host.log/0"

enum { HEARTH_LOG_DEBUG = 0, HEARTH_LOG_INFO = 1, HEARTH_LOG_WARNING = 2, HEARTH_LOG_ERROR = 3 };

typedef struct hearth_host_log {
    void (*write)(const hearth_host* host, uint32_t level, hearth_text line); /* [any-thread] */
} hearth_host_log;

HEARTH_ABI_END

#endif
