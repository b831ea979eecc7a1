/* The sizes of the border's structs as C sees them, in the order of abi_test.cpp. */
#include <stddef.h>

#include "hearth/hearth.h"

const size_t kAbiSizes[] = {
    sizeof(hearth_version),
    sizeof(hearth_text),
    sizeof(hearth_range),
    sizeof(hearth_document),
    sizeof(hearth_diagnostic),
    sizeof(hearth_selection),
    sizeof(hearth_job),
    sizeof(hearth_host),
    sizeof(hearth_plugin),
    sizeof(hearth_descriptor),
    sizeof(hearth_plugin_factory),
    sizeof(hearth_entry),
    sizeof(hearth_action),
    sizeof(hearth_part),
    sizeof(hearth_infill_options),
    offsetof(hearth_document, cursor_byte),
    offsetof(hearth_action, range),
    offsetof(hearth_diagnostic, message),
};
const size_t kAbiSizeCount = sizeof kAbiSizes / sizeof kAbiSizes[0];
