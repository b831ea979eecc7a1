/* "hearth.host.settings/0": the plugin's own settings, strings by name. */
#ifndef HEARTH_EXT_HOST_SETTINGS_H
#define HEARTH_EXT_HOST_SETTINGS_H

#include <stdbool.h>

#include "hearth/host.h"
#include "hearth/text.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_HOST_SETTINGS "hearth.host.settings/0"

typedef struct hearth_host_settings {
    /* [any-thread] The value lives as long as the host. False: not set, use your default. */
    bool (*find)(const hearth_host* host, const char* name, hearth_text* out);
} hearth_host_settings;

HEARTH_ABI_END

#endif
