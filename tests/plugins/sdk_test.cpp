// The C++ comfort, seen through the C border: this program is itself a library of plugins.
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "plugins/sdk/hearth_sdk.h"

namespace hearth::test {
namespace {

using namespace hearth::sdk;

class Everything final : public Plugin,
                         public InlineCompletion,
                         public CodeAction,
                         public ContextProvider {
  public:
    using Plugin::Plugin;
    Status complete(const Document& document, const Job& job) override {
        const bool is_read = job.emit(document.before_cursor()) && job.emit("|", 1) &&
                             job.emit(document.after_cursor(), 1);
        return is_read ? Status::ok : Status::cancelled;
    }
    std::vector<Action> list(const Document&, const Selection& selection, std::size_t) override {
        std::vector<Action> actions;
        for (std::uint32_t i = 0; i < selection.diagnostic_count(); ++i) {
            const Diagnostic diagnostic = selection.diagnostic(i);
            actions.push_back(
                {std::string(diagnostic.message), i, HEARTH_ACTION_FIXES, diagnostic.range});
        }
        return actions;
    }
    Status run(const Document&, const Selection&, std::uint32_t id, const Job& job) override {
        return job.emit(std::to_string(id)) ? Status::ok : Status::cancelled;
    }
    Status gather(const Document&, std::uint64_t budget_bytes, const Job& job) override {
        return job.emit(std::to_string(budget_bytes)) ? Status::ok : Status::cancelled;
    }
};

class Throwing final : public Plugin, public InlineCompletion, public CodeAction {
  public:
    using Plugin::Plugin;
    bool init() override { throw std::runtime_error("init threw"); }
    Status complete(const Document&, const Job&) override {
        throw std::runtime_error("complete threw");
    }
    std::vector<Action> list(const Document&, const Selection&, std::size_t) override { throw 1; }
    Status run(const Document&, const Selection&, std::uint32_t, const Job&) override { throw 2; }
};

class NeverMade final : public Plugin {
  public:
    explicit NeverMade(Host host) : Plugin(host) { throw std::runtime_error("constructor threw"); }
};

/// As in docs/plugin_abi.md.
class Greeter final : public hearth::sdk::Plugin, public hearth::sdk::InlineCompletion {
  public:
    using Plugin::Plugin;
    hearth::sdk::Status complete(const hearth::sdk::Document& document,
                                 const hearth::sdk::Job& job) override {
        if (!document.before_cursor().ends_with("hello")) return hearth::sdk::Status::ok;
        return job.emit(", world") ? hearth::sdk::Status::ok : hearth::sdk::Status::cancelled;
    }
};

/// A host that has a log and nothing else.
struct LogHost {
    hearth_host abi = {{HEARTH_ABI_MAJOR, HEARTH_ABI_MINOR}, this, get_extension};
    std::vector<std::string> lines;

    static void write(const hearth_host* host, std::uint32_t, hearth_text line) {
        static_cast<LogHost*>(host->host_data)->lines.emplace_back(to_view(line));
    }
    static const void* get_extension(const hearth_host*, const char* id) {
        static constexpr hearth_host_log kLog = {write};
        return std::string_view(id) == HEARTH_EXT_HOST_LOG ? &kLog : nullptr;
    }
};

struct KeepingJob {
    hearth_job abi = {this, is_cancelled, emit};
    std::vector<std::string> items = std::vector<std::string>(2);

    static bool is_cancelled(const hearth_job*) { return false; }
    static bool emit(const hearth_job* job, std::uint32_t item, hearth_text piece) {
        static_cast<KeepingJob*>(job->host_data)->items.at(item) += to_view(piece);
        return true;
    }
};

}  // namespace
}  // namespace hearth::test

HEARTH_PLUGINS(HEARTH_PLUGIN_CLASS(hearth::test::Everything, "test.everything", "Everything", "1"),
               HEARTH_PLUGIN_CLASS(hearth::test::Throwing, "test.throwing", "Throwing", "2"),
               HEARTH_PLUGIN_CLASS(hearth::test::NeverMade, "test.never_made", "Never made", "3"),
               HEARTH_PLUGIN_CLASS(hearth::test::Greeter, "example.greeter", "Greeter", "1.0"));

namespace hearth::test {
namespace {

const hearth_plugin_factory& factory() {
    return *static_cast<const hearth_plugin_factory*>(
        hearth_plugin_entry.get_factory(HEARTH_PLUGIN_FACTORY));
}

template <typename Table>
const Table& table(const hearth_plugin* plugin, const char* id) {
    return *static_cast<const Table*>(plugin->get_extension(plugin, id));
}

const hearth_document kDocument = {to_text("uri"), to_text("cpp"), to_text("int a;"), 3};

TEST_CASE("several classes become one library's plugins", "[plugins][sdk]") {
    CHECK(hearth_plugin_entry.get_factory("other") == nullptr);
    REQUIRE(factory().count() == 4);
    CHECK(std::string(factory().describe(1)->id) == "test.throwing");
    CHECK(std::string(factory().describe(1)->name) == "Throwing");
    CHECK(std::string(factory().describe(1)->version) == "2");
    CHECK(factory().describe(4) == nullptr);
    LogHost host;
    CHECK(factory().create(&host.abi, "unknown") == nullptr);
}

TEST_CASE("a class offers what it derives from", "[plugins][sdk]") {
    LogHost host;
    const hearth_plugin* plugin = factory().create(&host.abi, "test.everything");
    REQUIRE(plugin != nullptr);
    CHECK(plugin->init(plugin));

    KeepingJob completed;
    CHECK(table<hearth_inline_completion>(plugin, HEARTH_EXT_INLINE_COMPLETION)
              .complete(plugin, &kDocument, &completed.abi) == HEARTH_OK);
    CHECK(completed.items == std::vector<std::string>{"int", "| a;"});

    const hearth_diagnostic diagnostics[] = {{{1, 2}, 1, to_text("s"), to_text("first")},
                                             {{3, 4}, 2, to_text("s"), to_text("second")}};
    const hearth_selection selection = {{0, 0}, diagnostics, 2};
    const auto& actions = table<hearth_code_action>(plugin, HEARTH_EXT_CODE_ACTION);
    hearth_action out[2] = {};
    CHECK(actions.list(plugin, &kDocument, &selection, out, 1) == 1);
    CHECK(actions.list(plugin, &kDocument, &selection, out, 2) == 2);
    CHECK(to_view(out[1].title) == "second");
    CHECK(out[1].range.begin_byte == 3);
    KeepingJob ran;
    CHECK(actions.run(plugin, &kDocument, &selection, 7, &ran.abi) == HEARTH_OK);
    CHECK(ran.items[0] == "7");

    KeepingJob gathered;
    CHECK(table<hearth_context_provider>(plugin, HEARTH_EXT_CONTEXT_PROVIDER)
              .gather(plugin, &kDocument, 99, &gathered.abi) == HEARTH_OK);
    CHECK(gathered.items[0] == "99");
    CHECK(plugin->get_extension(plugin, "unknown") == nullptr);
    CHECK(plugin->get_extension(plugin, nullptr) == nullptr);
    plugin->destroy(plugin);
}

TEST_CASE("the greeter of the documentation greets", "[plugins][sdk]") {
    LogHost host;
    const hearth_plugin* plugin = factory().create(&host.abi, "example.greeter");
    REQUIRE(plugin != nullptr);
    CHECK(plugin->init(plugin));
    const auto& completion = table<hearth_inline_completion>(plugin, HEARTH_EXT_INLINE_COMPLETION);
    for (const auto& [text, expected] :
         {std::pair("say hello", ", world"), std::pair("say hell", "")}) {
        const hearth_document document = {
            to_text("uri"), to_text("cpp"), to_text(text), std::strlen(text)};
        KeepingJob job;
        CHECK(completion.complete(plugin, &document, &job.abi) == HEARTH_OK);
        CHECK(job.items[0] == expected);
    }
    plugin->destroy(plugin);
}

TEST_CASE("no exception gets out, and what it said is in the log", "[plugins][sdk]") {
    LogHost host;
    CHECK(factory().create(&host.abi, "test.never_made") == nullptr);
    const hearth_plugin* plugin = factory().create(&host.abi, "test.throwing");
    REQUIRE(plugin != nullptr);
    CHECK_FALSE(plugin->init(plugin));
    KeepingJob job;
    CHECK(table<hearth_inline_completion>(plugin, HEARTH_EXT_INLINE_COMPLETION)
              .complete(plugin, &kDocument, &job.abi) == HEARTH_FAILED);
    const auto& actions = table<hearth_code_action>(plugin, HEARTH_EXT_CODE_ACTION);
    const hearth_selection selection = {};
    CHECK(actions.list(plugin, &kDocument, &selection, nullptr, 0) == 0);
    CHECK(actions.run(plugin, &kDocument, &selection, 0, &job.abi) == HEARTH_FAILED);
    CHECK(host.lines == std::vector<std::string>{"init: init threw",
                                                 "complete: complete threw",
                                                 "list: unknown exception",
                                                 "run: unknown exception"});
    CHECK(plugin->get_extension(plugin, HEARTH_EXT_CONTEXT_PROVIDER) == nullptr);
    plugin->destroy(plugin);
}

TEST_CASE("what the host does not have is empty", "[plugins][sdk]") {
    LogHost host;
    const Host wrapped(host.abi);
    const KeepingJob job;
    CHECK_FALSE(wrapped.infill());
    CHECK_FALSE(wrapped.generate());
    CHECK_FALSE(wrapped.documents(Job(job.abi)));
    CHECK_FALSE(wrapped.setting("any"));
}

TEST_CASE("a collecting job keeps what it can hold and then says enough", "[plugins][sdk]") {
    const KeepingJob outer;
    CollectingJob collecting(Job(outer.abi), 5);
    const Job job = collecting.job();
    CHECK(job.abi().host_data == outer.abi.host_data);
    CHECK_FALSE(job.is_cancelled());
    CHECK(job.emit("abc"));
    CHECK(job.emit("other item", 1));
    CHECK(job.emit("de"));
    CHECK(collecting.is_whole());
    CHECK_FALSE(job.emit("f"));
    CHECK_FALSE(collecting.is_whole());
    CHECK(collecting.text() == "abcde");
}

}  // namespace
}  // namespace hearth::test
