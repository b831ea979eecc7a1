/* The smallest working plugin: after the word "hello" it suggests ", world". Written in C11, since
 * the border is C; plugins/sdk makes the same shorter in C++. Read it from the bottom up, as the
 * host does: entry, factory, create, init, get_extension, complete, destroy. docs/plugin_abi.md
 * walks along. */
#include <stdlib.h>
#include <string.h>

#include "hearth/hearth.h"

/* One instance: what the host sees, and our own state behind it. */
typedef struct greeter {
    hearth_plugin plugin;
    const hearth_host* host; /* outlives us */
    bool is_started;
} greeter;

static greeter* greeter_of(const hearth_plugin* plugin) {
    return plugin->plugin_data;
}

/* [job] Several at once on one instance: whatever they share must not change. */
static hearth_status complete(const hearth_plugin* plugin,
                              const hearth_document* document,
                              const hearth_job* job) {
    static const char word[] = "hello";
    static const char suggestion[] = ", world";
    const uint64_t word_bytes = sizeof word - 1;
    (void)plugin;

    /* A job that takes longer asks this at least every 10 ms. */
    if (job->is_cancelled(job)) return HEARTH_CANCELLED;

    /* The text is not terminated: count, never search for a zero. No suggestion is HEARTH_OK. */
    if (document->cursor_byte < word_bytes) return HEARTH_OK;
    const char* before_cursor = document->text.data + document->cursor_byte - word_bytes;
    if (memcmp(before_cursor, word, word_bytes) != 0) return HEARTH_OK;

    /* Item 0 is the first suggestion. It is copied, so it may lie anywhere. */
    const hearth_text answer = {.data = suggestion, .bytes = sizeof suggestion - 1};
    return job->emit(job, 0, answer) ? HEARTH_OK : HEARTH_CANCELLED;
}

static const hearth_inline_completion kInlineCompletion = {.complete = complete};

/* [any-thread] What we offer; null for everything else. */
static const void* get_extension(const hearth_plugin* plugin, const char* id) {
    (void)plugin;
    return strcmp(id, HEARTH_EXT_INLINE_COMPLETION) == 0 ? &kInlineCompletion : NULL;
}

/* [main] The first call in which the host may be used. */
static bool init(const hearth_plugin* plugin) {
    greeter* self = greeter_of(plugin);
    if (self->is_started) return false; /* once is enough */
    self->is_started = true;

    /* Every extension of the host may be missing. */
    const hearth_host_log* log = self->host->get_extension(self->host, HEARTH_EXT_HOST_LOG);
    if (log != NULL) {
        static const char ready[] = "ready to greet";
        const hearth_text line = {.data = ready, .bytes = sizeof ready - 1};
        log->write(self->host, HEARTH_LOG_DEBUG, line);
    }
    return true;
}

/* [main] The last call, also after a failed init. */
static void destroy(const hearth_plugin* plugin) {
    free(greeter_of(plugin));
}

static const hearth_descriptor kDescriptor = {
    .id = "hearth.template", .name = "Template", .version = "0.1.0"};

/* The factory: what this library holds. */
static uint32_t count(void) {
    return 1;
}

static const hearth_descriptor* describe(uint32_t index) {
    return index == 0 ? &kDescriptor : NULL;
}

static const hearth_plugin* create(const hearth_host* host, const char* id) {
    if (strcmp(id, kDescriptor.id) != 0) return NULL;
    greeter* self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    self->plugin = (hearth_plugin){
        .plugin_data = self, .init = init, .destroy = destroy, .get_extension = get_extension};
    self->host = host;
    return &self->plugin;
}

static const hearth_plugin_factory kFactory = {
    .count = count, .describe = describe, .create = create};

static const void* get_factory(const char* id) {
    return strcmp(id, HEARTH_PLUGIN_FACTORY) == 0 ? &kFactory : NULL;
}

/* The one exported symbol. */
HEARTH_EXPORT extern const hearth_entry
    hearth_plugin_entry; /* NOLINT(readability-identifier-naming): the border's name */
/* NOLINTNEXTLINE(readability-identifier-naming): the border's name */
const hearth_entry hearth_plugin_entry = {
    .abi = {.major = HEARTH_ABI_MAJOR, .minor = HEARTH_ABI_MINOR}, .get_factory = get_factory};
