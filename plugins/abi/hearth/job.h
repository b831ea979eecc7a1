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

/* Owned by the host; valid until the plugin's call returns.
 * A plugin may make a job of its own, to look at pieces before it passes them on: it embeds this
 * struct in its own, copies host_data from the job that it was given, sets both functions, and
 * finds its own data through the pointer that the functions get back. */
typedef struct hearth_job {
    void* host_data; /* the host's; never looked into */
    /* [any-thread] Ask at least every 10 ms, or between two pieces. */
    bool (*is_cancelled)(const struct hearth_job* job);
    /* [job] Hands over a piece of answer `item`: whole characters of UTF-8, copied before the call
     * returns. False: nobody reads on, stop. */
    bool (*emit)(const struct hearth_job* job, uint32_t item, hearth_text piece);
} hearth_job;

HEARTH_ABI_END

#endif
