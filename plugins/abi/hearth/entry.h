/* The one exported symbol of a plugin library:
 *   HEARTH_EXPORT extern const hearth_entry hearth_plugin_entry; */
#ifndef HEARTH_ENTRY_H
#define HEARTH_ENTRY_H

#include "hearth/export.h"
#include "hearth/host.h"

HEARTH_ABI_BEGIN

typedef struct hearth_entry {
    hearth_version abi; /* HEARTH_ABI_MAJOR, HEARTH_ABI_MINOR of the headers it was built with */
    const void* (*get_factory)(const char* id); /* [any-thread] Null: unknown here. */
} hearth_entry;

#define HEARTH_PLUGIN_ENTRY "hearth_plugin_entry"

HEARTH_ABI_END

#endif
