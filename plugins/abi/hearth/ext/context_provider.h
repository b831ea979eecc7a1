/* "hearth.context-provider/0": text from elsewhere that helps the model at the cursor. */
#ifndef HEARTH_EXT_CONTEXT_PROVIDER_H
#define HEARTH_EXT_CONTEXT_PROVIDER_H

#include "hearth/job.h"
#include "hearth/plugin.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_CONTEXT_PROVIDER "hearth.context-provider/0"

typedef struct hearth_context_provider {
    /* [job] Item i is the i-th piece, best first: one line with its path, a newline, then the text.
     * The host cuts at `budget_bytes` and takes what has come when its time is up. The same state
     * of the editor should give the same pieces in the same order, so that the model's cached
     * prefix holds. */
    hearth_status (*gather)(const hearth_plugin* plugin,
                            const hearth_document* document,
                            uint64_t budget_bytes,
                            const hearth_job* job);
} hearth_context_provider;

HEARTH_ABI_END

#endif
