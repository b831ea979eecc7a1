/* The whole stable border. */
#ifndef HEARTH_HEARTH_H
#define HEARTH_HEARTH_H

#include "hearth/entry.h"
#include "hearth/ext/code_action.h"
#include "hearth/ext/context_provider.h"
#include "hearth/ext/host_documents.h"
#include "hearth/ext/host_generate.h"
#include "hearth/ext/host_infill.h"
#include "hearth/ext/host_log.h"
#include "hearth/ext/host_settings.h"
#include "hearth/ext/inline_completion.h"
#include "hearth/factory.h"
#include "hearth/host.h"
#include "hearth/job.h"
#include "hearth/plugin.h"
#include "hearth/text.h"

#endif
