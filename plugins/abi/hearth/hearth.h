/* The whole border: include this, or the headers you need.
 *
 * Every function says which thread calls it:
 *   [main]        start and stop: one call at a time, before the first job and after the last
 *   [job]         the work: several at once on one instance, each on a thread of its own
 *   [any-thread]  at any time between create and destroy, several at once; quick, never waits
 * No exception may leave a function, in either direction. */
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
