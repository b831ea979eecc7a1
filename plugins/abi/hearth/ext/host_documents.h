/* "hearth.host.documents/0": the documents that the user's editor has open, as they were when the
 * job began. */
#ifndef HEARTH_EXT_HOST_DOCUMENTS_H
#define HEARTH_EXT_HOST_DOCUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "hearth/host.h"
#include "hearth/job.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_HOST_DOCUMENTS "hearth.host.documents/0"

typedef struct hearth_host_documents {
    /* [job] Those other than the job's own document, most recently used first. */
    uint32_t (*count)(const hearth_host* host, const hearth_job* job);
    /* [job] Borrowed until the job ends; cursor_byte is where the user last was, else 0. False past
     * the end. */
    bool (*at)(const hearth_host* host,
               const hearth_job* job,
               uint32_t index,
               hearth_document* out);
} hearth_host_documents;

HEARTH_ABI_END

#endif
