/* "hearth.inline-completion/0": text at the cursor while the user types. */
#ifndef HEARTH_EXT_INLINE_COMPLETION_H
#define HEARTH_EXT_INLINE_COMPLETION_H

#include "hearth/job.h"
#include "hearth/plugin.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_INLINE_COMPLETION "hearth.inline-completion/0"

typedef struct hearth_inline_completion {
    /* [job] Item i of the job is the i-th suggestion, best first, to be inserted at the document's
     * cursor. Emitting nothing is the ordinary answer "no suggestion". */
    hearth_status (*complete)(const hearth_plugin* plugin,
                              const hearth_document* document,
                              const hearth_job* job);
} hearth_inline_completion;

HEARTH_ABI_END

#endif
