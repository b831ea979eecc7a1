#include "core/plugin_host/guard.h"

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "core/plugin_host/job_pool.h"
#include "core/plugin_host/utf8.h"
#include "tests/core/plugin_host/hostile_folder.h"
#include "tests/support/fake_context.h"

namespace hearth::plugin_host {
namespace {

using test::FakeContext;
using test::HostileFolder;
using test::LoadedFolder;

const DocumentView kDocument{.uri = "file:///a.cpp", .language = "cpp", .text = "h\xc3\xa9llo"};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

bool is_left_out(const PluginHost& host) {
    return host.plugins().at(0).state == PluginState::left_out;
}

/// Whether one of the lines of the log holds `part`.
bool has_logged(const LoadedFolder& loaded, const std::string& part) {
    for (const std::string& line : loaded.lines) {
        if (contains(line, part)) return true;
    }
    return false;
}

TEST_CASE("a call that goes wrong fails, and the third in a row leaves the plugin out",
          "[plugin_host][guard]") {
    const std::pair<const char*, const char*> faults[] = {
        {"throws", "let an exception out of complete: thrown on purpose"},
        {"throws_something_odd", "let an exception out of complete"},
        {"fails", "reported a failure from complete"},
        {"unknown_status", "returned status 17"},
        {"broken_utf8", "not whole characters of UTF-8"},
        {"half_a_character", "not whole characters of UTF-8"},
        {"null_piece", "not whole characters of UTF-8"},
        {"item_too_high", "emitted item 1000000"},
        {"emits_forever", "emitted more than 1048576 bytes"},
        {"job_of_nobody", "reported a failure from complete"},
        {"null_job", "reported a failure from complete"},
        {"broken_question", "asked to generate from no parts, from too many, or from a broken one"},
    };
    for (const auto& [fault, sentence] : faults) {
        INFO(fault);
        LoadedFolder loaded(HostileFolder{fault});
        for (int i = 0; i < 3; ++i) {
            CHECK_FALSE(is_left_out(*loaded.host));
            const auto context = std::make_shared<FakeContext>();
            CHECK(loaded.host->complete(context, kDocument) == CallStatus::failed);
            CHECK(is_utf8(context->items[0]));
            CHECK_FALSE(contains(context->items[0], "done"));
        }
        CHECK(is_left_out(*loaded.host));
        const std::vector<std::string> messages = loaded.host->take_messages();
        REQUIRE(messages.size() == 1);
        INFO(messages[0]);
        CHECK(contains(messages[0], "plugin test.hostile of "));
        CHECK(contains(messages[0], sentence));
        CHECK(contains(messages[0], "restart hearth to try it again"));
        // Left out: it is not asked any more.
        const auto context = std::make_shared<FakeContext>();
        CHECK(loaded.host->complete(context, kDocument) == CallStatus::unsupported);
        CHECK(context->items.empty());
    }
}

TEST_CASE("a question with a foreign job is refused and logged", "[plugin_host][guard]") {
    for (const char* const fault : {"job_of_nobody", "null_job"}) {
        LoadedFolder loaded(HostileFolder{fault});
        const auto context = std::make_shared<FakeContext>();
        loaded.host->complete(context, kDocument);
        CHECK(context->infills.empty());
        CHECK(
            has_logged(loaded, "hearth.host.infill/0 was asked with a job that is not in flight"));
    }
}

TEST_CASE("actions that cannot be are dropped and count as a failure", "[plugin_host][guard]") {
    const std::pair<const char*, const char*> faults[] = {
        {"lists_too_many", "listed more actions than there was room for"},
        {"range_outside", "whose title, kind or range cannot be"},
        {"range_inside_a_character", "whose title, kind or range cannot be"},
        {"null_title", "whose title, kind or range cannot be"},
    };
    // Byte 1 is the second half of the first character.
    const DocumentView document{.uri = "a", .language = "cpp", .text = "\xc3\xa9"};
    for (const auto& [fault, sentence] : faults) {
        INFO(fault);
        LoadedFolder loaded(HostileFolder{fault});
        const auto context = std::make_shared<FakeContext>();
        CHECK(loaded.host->list_actions(context, document, {}, 4).empty());
        CHECK(has_logged(loaded, sentence));
    }
}

TEST_CASE("an action is listed, run by its plugin, and unknown ones are refused",
          "[plugin_host][guard]") {
    LoadedFolder loaded(HostileFolder{"sound"});
    const auto context = std::make_shared<FakeContext>();
    const std::vector<Action> actions = loaded.host->list_actions(context, kDocument, {}, 4);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].title == "Mend");
    CHECK(actions[0].kind == ActionKind::fixes);
    CHECK(actions[0].range.end_byte == kDocument.text.size());
    CHECK(loaded.host->list_actions(context, kDocument, {}, 0).empty());

    CHECK(loaded.host->run_action(context, kDocument, {}, actions[0]) == CallStatus::ok);
    CHECK(context->items[0] == "mended");
    Action unknown = actions[0];
    unknown.plugin_index = 7;
    CHECK(loaded.host->run_action(context, kDocument, {}, unknown) == CallStatus::unsupported);
}

TEST_CASE("a cancelled call is told so and no failure", "[plugin_host][guard]") {
    LoadedFolder loaded(HostileFolder{"sound"});
    for (int i = 0; i < 5; ++i) {
        const auto context = std::make_shared<FakeContext>();
        context->is_cancel_wanted = true;
        loaded.host->complete(context, kDocument);
        CHECK(context->items.empty());
    }
    CHECK_FALSE(is_left_out(*loaded.host));
}

/// A call of "never_returns" on a thread of its own, and the key that lets it go.
class StuckCall {
  public:
    explicit StuckCall(PluginHost& host) : context_(std::make_shared<FakeContext>()) {
        // What the thread touches lives as long as it does.
        auto inside = std::make_shared<std::promise<void>>();
        std::future<void> is_inside = inside->get_future();
        context_->on_emit = [inside] { inside->set_value(); };
        thread_ = std::thread([this, &host] {
            status_ = host.complete(context_, {.uri = "a", .language = "b", .text = text_});
        });
        is_inside.wait();
        context_->on_emit = {};
    }
    ~StuckCall() { let_go(); }
    StuckCall(const StuckCall&) = delete;
    StuckCall& operator=(const StuckCall&) = delete;

    CallStatus let_go() {
        if (thread_.joinable()) {
            std::atomic_ref(text_[0]).store('!');
            thread_.join();
        }
        return status_;
    }
    FakeContext& context() { return *context_; }

  private:
    const std::shared_ptr<FakeContext> context_;
    std::string text_ = "?";
    CallStatus status_ = CallStatus::ok;
    std::thread thread_;
};

TEST_CASE(
    "a call past its budget is counted while it still hangs, and the third leaves the plugin out",
    "[plugin_host][guard]") {
    LoadedFolder loaded(HostileFolder{"never_returns"});
    std::vector<std::unique_ptr<StuckCall>> calls;
    for (int i = 0; i < 3; ++i) {
        CHECK_FALSE(is_left_out(*loaded.host));
        calls.push_back(std::make_unique<StuckCall>(*loaded.host));
        loaded.clock.advance(std::chrono::seconds(5));
    }
    const std::vector<std::string> messages = loaded.host->take_messages();
    REQUIRE(messages.size() == 1);
    CHECK(contains(messages[0], "did not return within 4000 ms from complete"));
    CHECK(is_left_out(*loaded.host));
    // What it says after its time is not heard, and its status not believed.
    CHECK(calls[0]->let_go() == CallStatus::failed);
    CHECK(calls[0]->context().items[0] == "inside");
}

TEST_CASE("a plugin that hangs in every thread of a pool is left out and the pool serves on",
          "[plugin_host][guard]") {
    constexpr int kThreads = 4;
    constexpr Duration kJobBudget = std::chrono::seconds(5);
    LoadedFolder loaded(HostileFolder{"never_returns"});
    // Shared with the threads that are left behind; they end when the text changes.
    const auto text = std::make_shared<std::string>("?");
    const auto ended = std::make_shared<std::promise<void>>();
    const auto pool = JobPool::make("test", {.thread_count = kThreads}, loaded.clock);
    const auto submit = [&](const std::shared_ptr<FakeContext>& context,
                            const std::shared_ptr<std::promise<CallStatus>>& status,
                            const std::shared_ptr<void>& kept) {
        return pool->try_submit(
            {.run =
                 [context, status, kept, text, &host = *loaded.host] {
                     status->set_value(
                         host.complete(context, {.uri = "a", .language = "b", .text = *text}));
                 },
             .budget = kJobBudget});
    };
    {
        const std::shared_ptr<void> last(nullptr, [ended](void*) { ended->set_value(); });
        for (int i = 0; i < kThreads; ++i) {
            const auto context = std::make_shared<FakeContext>();
            const auto inside = std::make_shared<std::promise<void>>();
            context->on_emit = [inside] { inside->set_value(); };
            REQUIRE(submit(context, std::make_shared<std::promise<CallStatus>>(), last));
            inside->get_future().wait();
        }
    }
    loaded.clock.advance(kJobBudget);
    pool->check_budgets();

    const auto status = std::make_shared<std::promise<CallStatus>>();
    REQUIRE(submit(std::make_shared<FakeContext>(), status, nullptr));
    CHECK(status->get_future().get() == CallStatus::unsupported);
    CHECK(is_left_out(*loaded.host));
    std::atomic_ref((*text)[0]).store('!');
    ended->get_future().wait();
}

TEST_CASE("a call that hangs may return after the host, the log and the clock are gone",
          "[plugin_host][guard]") {
    auto loaded = std::make_unique<LoadedFolder>(HostileFolder{"never_returns"});
    StuckCall call(*loaded->host);
    loaded->clock.advance(std::chrono::seconds(5));
    loaded.reset();
    CHECK(call.let_go() != CallStatus::ok);
    CHECK(call.context().items[0] == "inside");
}

std::shared_ptr<Plugin> make_plugin(const std::shared_ptr<Ledger>& ledger) {
    auto plugin = std::make_shared<Plugin>();
    plugin->info.id = "test.direct";
    plugin->ledger = ledger;
    plugin->is_host_open = true;
    make_host(*plugin);
    return plugin;
}

template <typename Table>
const Table& host_table(const Plugin& plugin, const char* id) {
    return *static_cast<const Table*>(plugin.host.get_extension(&plugin.host, id));
}

/// A ledger with a clock that stands still, and one plugin.
struct Bench {
    test::FakeClock clock;
    std::vector<std::string> lines;
    Log log{LogLevel::debug, [this](LogLevel, std::string_view room, std::string_view text) {
                lines.push_back(std::string(room) + ": " + std::string(text));
            }};
    std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>(log, clock, 2);
    std::shared_ptr<Plugin> plugin = make_plugin(ledger);
    std::shared_ptr<FakeContext> context = std::make_shared<FakeContext>();

    CallStatus call(const std::function<hearth_status(const hearth_job*)>& work,
                    const CallKind& kind = {.verb = "work", .budget = std::chrono::seconds(1)}) {
        Call call(plugin, context, kDocument, kind);
        return call.run(work);
    }
    hearth_status infill(const hearth_job* job, const hearth_document& document) {
        const hearth_infill_options options = {
            .tokens_max = 5, .lines_max = 2, .candidates_max = 0, .temperature = -1.0F};
        return host_table<hearth_host_infill>(*plugin, HEARTH_EXT_HOST_INFILL)
            .infill(&plugin->host, &document, &options, job);
    }
};

TEST_CASE("success between failures starts the count again", "[plugin_host][guard]") {
    Bench bench;
    for (int i = 0; i < 4; ++i) {
        CHECK(bench.call([](const hearth_job*) { return HEARTH_FAILED; }) == CallStatus::failed);
        CHECK(bench.call([](const hearth_job*) { return HEARTH_OK; }) == CallStatus::ok);
    }
    CHECK(bench.ledger->is_active(*bench.plugin));
}

TEST_CASE("the time that a plugin waits for the model is not its own", "[plugin_host][guard]") {
    Bench bench;
    bench.context->answer = {"x"};
    bench.context->on_model = [&] { bench.clock.advance(std::chrono::minutes(1)); };
    const auto status = bench.call([&](const hearth_job* job) {
        const hearth_status asked = bench.infill(job, to_document(kDocument));
        CHECK_FALSE(job->is_cancelled(job));
        bench.clock.advance(std::chrono::seconds(2));
        CHECK(job->is_cancelled(job));
        CHECK_FALSE(job->emit(job, 0, to_text("late")));
        return asked;
    });
    CHECK(status == CallStatus::failed);
    CHECK(bench.context->items[0] == "x");
}

TEST_CASE("a plugin that fails because the model did is not to blame", "[plugin_host][guard]") {
    Bench bench;
    bench.context->model_status = CallStatus::failed;
    for (int i = 0; i < 5; ++i) {
        CHECK(bench.call([&](const hearth_job* job) {
            return bench.infill(job, to_document(kDocument));
        }) == CallStatus::failed);
    }
    CHECK(bench.ledger->is_active(*bench.plugin));
}

TEST_CASE("a question to the host is checked before it is passed on", "[plugin_host][guard]") {
    Bench bench;
    hearth_document past_the_end = to_document(kDocument);
    past_the_end.cursor_byte = 100;
    hearth_document broken = to_document(kDocument);
    broken.text = to_text("\xff");
    hearth_document null_text = to_document(kDocument);
    null_text.text = {nullptr, 4};
    for (const hearth_document& document : {past_the_end, broken, null_text}) {
        bench.call([&](const hearth_job* job) {
            CHECK(bench.infill(job, document) == HEARTH_FAILED);
            return HEARTH_OK;
        });
    }
    CHECK(bench.context->infills.empty());

    bench.call([&](const hearth_job* job) { return bench.infill(job, to_document(kDocument)); });
    REQUIRE(bench.context->infills.size() == 1);
    CHECK(bench.context->infills[0].tokens_max == 5);
    CHECK(bench.context->infills[0].candidates_max == 1);
    CHECK(bench.context->infills[0].temperature == 0.0F);
}

/// A plugin's own job: passes pieces on in capitals, and throws at "throw".
struct ShoutingJob {
    hearth_job abi;
    const hearth_job* outer;

    static bool is_cancelled(const hearth_job* job) {
        const hearth_job* outer = reinterpret_cast<const ShoutingJob*>(job)->outer;
        return outer->is_cancelled(outer);
    }
    static bool emit(const hearth_job* job, std::uint32_t item, hearth_text piece) {
        const hearth_job* outer = reinterpret_cast<const ShoutingJob*>(job)->outer;
        std::string text(piece.data, piece.bytes);
        if (text == "throw") throw std::runtime_error("own emit");
        for (char& c : text) {
            c = static_cast<char>(std::toupper(c));
        }
        return outer->emit(outer, item, to_text(text));
    }
};

TEST_CASE("a plugin may look at the model's pieces through a job of its own",
          "[plugin_host][guard]") {
    Bench bench;
    bench.context->answer = {"a", "b", "throw", "never"};
    const auto status = bench.call([&](const hearth_job* job) {
        const ShoutingJob own{{job->host_data, ShoutingJob::is_cancelled, ShoutingJob::emit}, job};
        return bench.infill(&own.abi, to_document(kDocument));
    });
    CHECK(bench.context->items[0] == "AB");
    CHECK(status == CallStatus::failed);  // an exception left its emit
}

TEST_CASE("a context provider's pieces are cut at the budget, at a line's end",
          "[plugin_host][guard]") {
    Bench bench;
    const CallKind kind{
        .verb = "gather", .budget = std::chrono::seconds(1), .bytes_max = 10, .is_cut = true};
    const auto status = bench.call(
        [](const hearth_job* job) {
            CHECK(job->emit(job, 0, to_text("abc\n")));
            CHECK_FALSE(job->emit(job, 1, to_text("de\nfghijk\n")));
            CHECK_FALSE(job->emit(job, 2, to_text("x\n")));
            return HEARTH_OK;
        },
        kind);
    CHECK(status == CallStatus::ok);
    CHECK(bench.context->items == std::map<std::uint32_t, std::string>{{0, "abc\n"}, {1, "de\n"}});
}

TEST_CASE("emit from another thread than the job's is refused", "[plugin_host][guard]") {
    Bench bench;
    bench.call([](const hearth_job* job) {
        std::thread([job] { CHECK_FALSE(job->emit(job, 0, to_text("x"))); }).join();
        return HEARTH_OK;
    });
    CHECK(bench.context->items.empty());
}

TEST_CASE("the host gives documents, settings and a log line that is one line",
          "[plugin_host][guard]") {
    Bench bench;
    bench.plugin->settings["colour"] = "green";
    const DocumentView other{
        .uri = "file:///b.cpp", .language = "cpp", .text = "two", .cursor_byte = 1};
    bench.context->open_documents = {other};
    const auto& documents =
        host_table<hearth_host_documents>(*bench.plugin, HEARTH_EXT_HOST_DOCUMENTS);
    bench.call([&](const hearth_job* job) {
        const hearth_host* host = &bench.plugin->host;
        hearth_document document = {};
        CHECK(documents.count(host, job) == 1);
        CHECK(documents.at(host, job, 0, &document));
        CHECK(document.text.data == other.text.data());
        CHECK(document.cursor_byte == 1);
        CHECK_FALSE(documents.at(host, job, 1, &document));
        CHECK_FALSE(documents.at(host, job, 0, nullptr));
        return HEARTH_OK;
    });

    const auto& settings =
        host_table<hearth_host_settings>(*bench.plugin, HEARTH_EXT_HOST_SETTINGS);
    hearth_text value = {};
    CHECK(settings.find(&bench.plugin->host, "colour", &value));
    CHECK(from_text(value, 100) == "green");
    CHECK_FALSE(settings.find(&bench.plugin->host, "size", &value));
    CHECK_FALSE(settings.find(&bench.plugin->host, nullptr, &value));

    const auto& log = host_table<hearth_host_log>(*bench.plugin, HEARTH_EXT_HOST_LOG);
    log.write(&bench.plugin->host, 77, to_text("two\nlines \x1b[31mred"));
    REQUIRE_FALSE(bench.lines.empty());
    CHECK(bench.lines.back() == "plugin test.direct: two lines  [31mred");
}

TEST_CASE("before init the host has nothing to give", "[plugin_host][guard]") {
    Bench bench;
    bench.plugin->is_host_open = false;
    CHECK(bench.plugin->host.get_extension(&bench.plugin->host, HEARTH_EXT_HOST_LOG) == nullptr);
    bench.plugin->is_host_open = true;
    CHECK(bench.plugin->host.get_extension(&bench.plugin->host, "hearth.host.unknown/0") ==
          nullptr);
}

TEST_CASE("UTF-8 is told from what only looks like it", "[plugin_host][utf8]") {
    for (const char* const good : {"",
                                   "plain",
                                   "\xc2\x80",
                                   "\xdf\xbf",
                                   "\xe0\xa0\x80",
                                   "\xed\x9f\xbf",
                                   "\xef\xbf\xbf",
                                   "\xf0\x90\x80\x80",
                                   "\xf4\x8f\xbf\xbf",
                                   "a\xc3\xa9z"}) {
        CHECK(is_utf8(good));
    }
    for (const char* const bad : {"\x80",
                                  "\xc0\xaf",
                                  "\xc1\xbf",
                                  "\xc3",
                                  "\xc3z",
                                  "\xe0\x9f\xbf",
                                  "\xed\xa0\x80",
                                  "\xe2\x82",
                                  "\xf0\x8f\xbf\xbf",
                                  "\xf4\x90\x80\x80",
                                  "\xf5\x80\x80\x80",
                                  "\xff",
                                  "\xf0\x90\x80",
                                  "\xf0\x90\x80z"}) {
        CHECK_FALSE(is_utf8(bad));
    }
}

}  // namespace
}  // namespace hearth::plugin_host
