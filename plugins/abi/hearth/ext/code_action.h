/* "hearth.code-action/0": something the user may ask for at a selection. */
#ifndef HEARTH_EXT_CODE_ACTION_H
#define HEARTH_EXT_CODE_ACTION_H

#include "hearth/job.h"
#include "hearth/plugin.h"

HEARTH_ABI_BEGIN

#define HEARTH_EXT_CODE_ACTION "hearth.code-action/0"

enum {
    HEARTH_ACTION_EXPLAINS = 0, /* the job's item 0 is text for the user, Markdown */
    HEARTH_ACTION_FIXES =
        1 /* the job's item 0 replaces the action's range; nothing emitted: no fix found */
};

typedef struct hearth_action {
    hearth_text title; /* lives until the next call of list on this thread, or longer */
    uint32_t id;       /* the plugin's own, handed back to run */
    uint32_t kind;
    hearth_range range;
} hearth_action;

typedef struct hearth_code_action {
    /* [job] Quick, never asks a model. Writes at most `room` actions, returns how many. */
    uint32_t (*list)(const hearth_plugin* plugin,
                     const hearth_document* document,
                     const hearth_selection* selection,
                     hearth_action* out,
                     uint32_t room);
    /* [job] May take its time. The document and selection are those of list, or newer ones at the
     * same place. */
    hearth_status (*run)(const hearth_plugin* plugin,
                         const hearth_document* document,
                         const hearth_selection* selection,
                         uint32_t id,
                         const hearth_job* job);
} hearth_code_action;

HEARTH_ABI_END

#endif
