/* "hearth.host.infill/0": fill in at the cursor. Context, prompt budget and the model's format are
 * the host's part. */
#ifndef HEARTH_EXT_HOST_INFILL_H
#define HEARTH_EXT_HOST_INFILL_H

#include "hearth/host.h"
#include "hearth/job.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_HOST_INFILL "hearth.host.infill/0"

typedef struct hearth_infill_options {
    uint32_t tokens_max;     /* 0: the host's default */
    uint32_t lines_max;      /* 0: no limit */
    uint32_t candidates_max; /* at least 1 */
    float temperature;       /* 0: the most likely text */
} hearth_infill_options;

typedef struct hearth_host_infill {
    /* [job] Streams candidate i into item i of `job`, the plugin's own or one that it made to look
     * at the text first. */
    hearth_status (*infill)(const hearth_host* host,
                            const hearth_document* document,
                            const hearth_infill_options* options,
                            const hearth_job* job);
} hearth_host_infill;

HEARTH_ABI_END

#endif
