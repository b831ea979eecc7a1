// A plugin that is wrong in one way: the one that its file is named after. Tests copy it under the
// name they want; "sound" is a name without a fault.
#include <dlfcn.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "hearth/hearth.h"

namespace {

/// The case: the name of this file, without folder and extension.
std::string own_name() {
    Dl_info info = {};
    static const int kInside = 0;
    if (dladdr(&kInside, &info) == 0) return {};
    const std::string path = info.dli_fname;
    const std::size_t begin = path.rfind('/') + 1;
    return path.substr(begin, path.rfind('.') - begin);
}

const std::string kCase = own_name();

bool is(const char* name) {
    return kCase == name;
}

bool init(const hearth_plugin*) {
    if (is("init_throws")) throw std::runtime_error("not today");
    if (is("init_hangs")) {
        std::atomic<bool> is_over = false;
        is_over.wait(false);
    }
    return !is("init_false");
}

void destroy(const hearth_plugin*) {
    if (is("destroy_throws")) throw 1;
}

const hearth_host* the_host = nullptr;

template <typename Table>
const Table& host_table(const char* id) {
    return *static_cast<const Table*>(the_host->get_extension(the_host, id));
}

hearth_text text(const char* data) {
    return {data, std::strlen(data)};
}

hearth_status ask_wrongly(const hearth_document* document, const hearth_job* job) {
    const auto& infill = host_table<hearth_host_infill>(HEARTH_EXT_HOST_INFILL);
    const auto& generate = host_table<hearth_host_generate>(HEARTH_EXT_HOST_GENERATE);
    const hearth_infill_options options = {0, 1, 1, 0.0F};
    if (is("job_of_nobody")) {
        int nothing = 0;
        const hearth_job job_of_nobody = {&nothing, job->is_cancelled, job->emit};
        return infill.infill(the_host, document, &options, &job_of_nobody);
    }
    if (is("null_job")) {
        return infill.infill(the_host, document, &options, nullptr);
    }
    const hearth_part part = {99, text(""), text("x")};
    return generate.generate(the_host, HEARTH_TASK_FIX, &part, 1, job);
}

hearth_status stay(const hearth_document* document, const hearth_job* job) {
    job->emit(job, 0, text("inside"));
    // Until the test lets it go by changing the document's first byte.
    while (__atomic_load_n(document->text.data, __ATOMIC_ACQUIRE) != '!') {
        std::this_thread::yield();
    }
    return job->emit(job, 0, text("late")) ? HEARTH_OK : HEARTH_CANCELLED;
}

hearth_status complete(const hearth_plugin*,
                       const hearth_document* document,
                       const hearth_job* job) {
    if (is("throws")) throw std::runtime_error("thrown on purpose");
    if (is("throws_something_odd")) throw 17;
    if (is("fails")) return HEARTH_FAILED;
    if (is("unknown_status")) return 17;
    if (is("never_returns")) return stay(document, job);
    if (is("job_of_nobody") || is("null_job") || is("broken_question")) {
        return ask_wrongly(document, job);
    }
    if (is("emits_forever")) {
        const std::string much(1000, 'x');
        while (job->emit(job, 0, {much.data(), much.size()})) {
        }
        return HEARTH_OK;
    }
    // A plugin that does not care whether it was heard.
    if (is("broken_utf8")) job->emit(job, 0, text("sound \xff\xfe"));
    if (is("half_a_character")) job->emit(job, 0, text("\xc3"));
    if (is("null_piece")) job->emit(job, 0, {nullptr, 5});
    if (is("item_too_high")) job->emit(job, 1000000, text("x"));
    job->emit(job, 0, text("done"));
    return HEARTH_OK;
}

std::uint32_t list(const hearth_plugin*,
                   const hearth_document* document,
                   const hearth_selection*,
                   hearth_action* out,
                   std::uint32_t room) {
    hearth_range range = {0, document->text.bytes};
    if (is("range_outside")) range.end_byte += 1;
    if (is("range_inside_a_character")) range = {1, 1};
    const hearth_text title = is("null_title") ? hearth_text{nullptr, 3} : text("Mend");
    for (std::uint32_t i = 0; i < room; ++i) {
        out[i] = {title, i, HEARTH_ACTION_FIXES, range};
    }
    return is("lists_too_many") ? room + 1 : 1;
}

hearth_status run(const hearth_plugin*,
                  const hearth_document*,
                  const hearth_selection*,
                  std::uint32_t,
                  const hearth_job* job) {
    return job->emit(job, 0, text("mended")) ? HEARTH_OK : HEARTH_CANCELLED;
}

const hearth_inline_completion kCompletion = {is("null_extension_function") ? nullptr : complete};
const hearth_inline_completion kOtherCompletion = {complete};
const hearth_code_action kAction = {list, run};

const void* get_extension(const hearth_plugin*, const char* id) {
    if (is("extension_throws")) throw std::runtime_error("no extension");
    static std::atomic<std::uint32_t> asked = 0;
    if (std::strcmp(id, HEARTH_EXT_INLINE_COMPLETION) == 0) {
        const bool is_other = is("lookup_changes") && asked++ % 2 == 1;
        return is_other ? &kOtherCompletion : &kCompletion;
    }
    return std::strcmp(id, HEARTH_EXT_CODE_ACTION) == 0 ? &kAction : nullptr;
}

const hearth_plugin kInstance = {
    nullptr, is("null_instance_function") ? nullptr : init, destroy, get_extension};

const hearth_descriptor kDescriptor = {is("null_id")     ? nullptr
                                       : is("broken_id") ? "an id with spaces"
                                                         : "test.hostile",
                                       is("null_name") ? nullptr : "Hostile",
                                       "1.0"};

std::uint32_t count() {
    if (is("no_plugins")) return 0;
    if (is("too_many_plugins")) return UINT32_MAX;
    return is("same_id_twice") ? 2 : 1;
}

const hearth_descriptor* describe(std::uint32_t index) {
    return is("null_descriptor") || index >= count() ? nullptr : &kDescriptor;
}

const hearth_plugin* create(const hearth_host* host, const char*) {
    if (is("create_throws")) throw std::runtime_error("no instance");
    the_host = host;
    return is("null_instance") ? nullptr : &kInstance;
}

const hearth_plugin_factory kFactory = {
    count, describe, is("null_factory_function") ? nullptr : create};

const void* get_factory(const char*) {
    return is("null_factory") ? nullptr : &kFactory;
}

}  // namespace

extern "C" {
HEARTH_EXPORT extern const hearth_entry hearth_plugin_entry;
const hearth_entry hearth_plugin_entry = {
    {HEARTH_ABI_MAJOR + (is("wrong_version") ? 1U : 0U), HEARTH_ABI_MINOR},
    is("null_get_factory") ? nullptr : get_factory};
}
