/* One instance of a plugin. Life: create, init, any calls, destroy. Extensions: hearth/ext/ without
 * the prefix host_. */
#ifndef HEARTH_PLUGIN_H
#define HEARTH_PLUGIN_H

#include <stdbool.h>

#include "hearth/export.h"

HEARTH_ABI_BEGIN

typedef struct hearth_plugin {
    void* plugin_data;
    /* [main] First, once. The host may be used from here on. False: leave this plugin out (say why
     * through the log); so answers a second init. */
    bool (*init)(const struct hearth_plugin* plugin);
    /* [main] Last, also after a failed init; no job is running any more. Frees the instance. */
    void (*destroy)(const struct hearth_plugin* plugin);
    /* [any-thread] Null: not offered. The same pointer each time, valid until destroy. */
    const void* (*get_extension)(const struct hearth_plugin* plugin, const char* id);
} hearth_plugin;

HEARTH_ABI_END

#endif
