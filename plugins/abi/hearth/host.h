/* The daemon as a plugin sees it. Host extensions: hearth/ext/host_*.h. */
#ifndef HEARTH_HOST_H
#define HEARTH_HOST_H

#include <stdint.h>

#include "hearth/export.h"

HEARTH_ABI_BEGIN

typedef struct hearth_version {
    uint32_t major, minor; /* major must match; minor only adds */
} hearth_version;

#define HEARTH_ABI_MAJOR 0
#define HEARTH_ABI_MINOR 1

/* Outlives the plugin. */
typedef struct hearth_host {
    hearth_version abi;
    void* host_data;
    /* [any-thread] Null: this host does not have it, which is never an error; or it is before
     * init. */
    const void* (*get_extension)(const struct hearth_host* host, const char* id);
} hearth_host;

HEARTH_ABI_END

#endif
