/* "hearth.plugin-factory/0": what one shared library holds. Every call is [any-thread] and quick,
 * for scanning. */
#ifndef HEARTH_FACTORY_H
#define HEARTH_FACTORY_H

#include <stdint.h>

#include "hearth/export.h"
#include "hearth/host.h"
#include "hearth/plugin.h"

HEARTH_ABI_BEGIN

#define HEARTH_PLUGIN_FACTORY "hearth.plugin-factory/0"

/* Strings are terminated, UTF-8, and live as long as the library. */
typedef struct hearth_descriptor {
    const char* id;      /* "hearth.complete": letters, digits, '.', '-', '_' */
    const char* name;    /* for people */
    const char* version; /* the plugin's own */
} hearth_descriptor;

typedef struct hearth_plugin_factory {
    uint32_t (*count)(void);
    const hearth_descriptor* (*describe)(uint32_t index); /* null past the end */
    /* Null: unknown id, or no memory. Must not call the host: that is init's time. */
    const hearth_plugin* (*create)(const hearth_host* host, const char* id);
} hearth_plugin_factory;

HEARTH_ABI_END

#endif
