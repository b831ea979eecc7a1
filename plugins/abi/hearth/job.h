/* One request in flight. The host calls a plugin on a [job] thread; the return of that call is the
 * end of the job, so there is nothing to free and no completion callback. */
#ifndef HEARTH_JOB_H
#define HEARTH_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "hearth/export.h"
#include "hearth/text.h"

HEARTH_ABI_BEGIN

typedef int32_t hearth_status; /* returned once */
enum {
    HEARTH_OK = 0,
    HEARTH_CANCELLED = 1,   /* is_cancelled or a false emit was seen */
    HEARTH_UNSUPPORTED = 2, /* not for this document, not by this model */
    HEARTH_FAILED = 3       /* the reason went to the log extension */
};

/* Owned by the host; valid until the plugin's call returns. */
typedef struct hearth_job {
    void* host_data;
    /* [any-thread] Ask at least every 10 ms, or between two pieces. */
    bool (*is_cancelled)(const struct hearth_job* job);
    /* [job] Hands over a piece of answer `item`; it is copied before the call returns. False:
     * nobody reads on, stop. */
    bool (*emit)(const struct hearth_job* job, uint32_t item, hearth_text piece);
} hearth_job;

HEARTH_ABI_END

#endif
