/* "hearth.host.generate/0": an answer in words or code. Plugins hand over parts; the host renders
 * them in the model's format, and text from a part never becomes a special token. */
#ifndef HEARTH_EXT_HOST_GENERATE_H
#define HEARTH_EXT_HOST_GENERATE_H

#include "hearth/host.h"
#include "hearth/job.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_HOST_GENERATE "hearth.host.generate/0"

enum { HEARTH_TASK_EXPLAIN = 0, HEARTH_TASK_FIX = 1, HEARTH_TASK_CHAT = 2 };

enum {
    HEARTH_PART_INSTRUCTION = 0, /* words of the user or the plugin */
    HEARTH_PART_CODE = 1,        /* code with its path; several in the order they should be read */
    HEARTH_PART_DIAGNOSTIC = 2,  /* a compiler's or linter's message */
    HEARTH_PART_MARKED_LINE =
        3 /* the line to mend: it stands between the code part before and the code part after */
};

typedef struct hearth_part {
    uint32_t kind;
    hearth_text path, text; /* path may be empty */
} hearth_part;

typedef struct hearth_host_generate {
    /* [job] Streams the answer into item 0 of `job`. HEARTH_UNSUPPORTED: this model was not made
     * for the task. */
    hearth_status (*generate)(const hearth_host* host,
                              uint32_t task,
                              const hearth_part* parts,
                              uint32_t count,
                              const hearth_job* job);
} hearth_host_generate;

HEARTH_ABI_END

#endif
