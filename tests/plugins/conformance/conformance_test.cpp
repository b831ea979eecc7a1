// What every plugin must do, whatever it offers: HEARTH_PLUGIN names the library. It speaks the C
// border itself, without core/plugin_host, so that it shows what the plugin does and not what the
// host makes of it. Run by hand: HEARTH_PLUGIN=./mine.so plugin_conformance
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "hearth/hearth.h"

namespace {

/// How long a cancelled call may take. The border says 10 ms between two questions; a busy machine
/// gets more.
constexpr auto kCancelBound = std::chrono::seconds(2);
constexpr int kThreadCount = 4;

hearth_text text(std::string_view view) {
    return {view.data(), view.size()};
}

/// A job that keeps what is emitted and is cancelled after so many pieces.
struct Job {
    explicit Job(int pieces_until_cancel = INT32_MAX) : pieces_left(pieces_until_cancel) {}

    hearth_job abi = {this, is_cancelled, emit};
    std::atomic<int> pieces_left;
    std::map<std::uint32_t, std::string> items;
    int emitted_after_cancel = 0;

    static Job& of(const hearth_job* job) { return *static_cast<Job*>(job->host_data); }
    static bool is_cancelled(const hearth_job* job) { return of(job).pieces_left <= 0; }
    static bool emit(const hearth_job* job, std::uint32_t item, hearth_text piece) {
        Job& self = of(job);
        if (self.pieces_left <= 0) {
            ++self.emitted_after_cancel;
            return false;
        }
        self.items[item] += std::string(piece.data, piece.bytes);
        return --self.pieces_left > 0;
    }
};

/// A host whose model never stops talking unless it is told to, and counts its words if it is.
struct Host {
    explicit Host(int answer_pieces, bool has_extensions = true)
        : pieces(answer_pieces),
          is_rich(has_extensions) {}

    hearth_host abi = {{HEARTH_ABI_MAJOR, HEARTH_ABI_MINOR}, this, get_extension};
    const int pieces;
    const bool is_rich;
    std::vector<hearth_document> documents;

    static Host& of(const hearth_host* host) { return *static_cast<Host*>(host->host_data); }

    static hearth_status speak(const hearth_host* host, const hearth_job* job) {
        for (int i = 0; i < of(host).pieces; ++i) {
            if (job->is_cancelled(job) || !job->emit(job, 0, text("word ")))
                return HEARTH_CANCELLED;
        }
        return HEARTH_OK;
    }
    static hearth_status infill(const hearth_host* host,
                                const hearth_document*,
                                const hearth_infill_options*,
                                const hearth_job* job) {
        return speak(host, job);
    }
    static hearth_status generate(const hearth_host* host,
                                  std::uint32_t,
                                  const hearth_part*,
                                  std::uint32_t,
                                  const hearth_job* job) {
        return speak(host, job);
    }
    static std::uint32_t count(const hearth_host* host, const hearth_job*) {
        return static_cast<std::uint32_t>(of(host).documents.size());
    }
    static bool at(const hearth_host* host,
                   const hearth_job*,
                   std::uint32_t index,
                   hearth_document* out) {
        if (index >= of(host).documents.size()) return false;
        *out = of(host).documents[index];
        return true;
    }
    static void write(const hearth_host*, std::uint32_t, hearth_text) {}
    static bool find(const hearth_host*, const char*, hearth_text*) { return false; }

    static const void* get_extension(const hearth_host* host, const char* id) {
        static constexpr hearth_host_infill kInfill = {infill};
        static constexpr hearth_host_generate kGenerate = {generate};
        static constexpr hearth_host_documents kDocuments = {count, at};
        static constexpr hearth_host_log kLog = {write};
        static constexpr hearth_host_settings kSettings = {find};
        if (!of(host).is_rich) return nullptr;
        const std::string_view asked(id);
        if (asked == HEARTH_EXT_HOST_INFILL) return &kInfill;
        if (asked == HEARTH_EXT_HOST_GENERATE) return &kGenerate;
        if (asked == HEARTH_EXT_HOST_DOCUMENTS) return &kDocuments;
        if (asked == HEARTH_EXT_HOST_LOG) return &kLog;
        if (asked == HEARTH_EXT_HOST_SETTINGS) return &kSettings;
        return nullptr;
    }
};

const hearth_plugin_factory& factory() {
    static const hearth_plugin_factory* const found = [] {
        const char* const path = std::getenv("HEARTH_PLUGIN");
        REQUIRE(path != nullptr);
        void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        INFO((library == nullptr ? dlerror() : ""));
        REQUIRE(library != nullptr);
        const auto* entry = static_cast<const hearth_entry*>(dlsym(library, HEARTH_PLUGIN_ENTRY));
        REQUIRE(entry != nullptr);
        REQUIRE(entry->abi.major == HEARTH_ABI_MAJOR);
        REQUIRE(entry->get_factory("hearth.no-such-factory/0") == nullptr);
        return static_cast<const hearth_plugin_factory*>(entry->get_factory(HEARTH_PLUGIN_FACTORY));
    }();
    REQUIRE(found != nullptr);
    return *found;
}

/// An instance that is destroyed at the end.
struct Instance {
    Instance(const Host& host, std::uint32_t index)
        : abi(factory().create(&host.abi, factory().describe(index)->id)) {
        REQUIRE(abi != nullptr);
    }
    ~Instance() { abi->destroy(abi); }
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    bool init() const { return abi->init(abi); }
    template <typename Table>
    const Table* table(const char* id) const {
        return static_cast<const Table*>(abi->get_extension(abi, id));
    }

    const hearth_plugin* abi;
};

bool is_status(hearth_status status) {
    return status >= HEARTH_OK && status <= HEARTH_FAILED;
}

/// Documents that have surprised programs before.
std::vector<hearth_document> odd_documents() {
    static const std::string long_line = "int a = " + std::string(100'000, '1') + ";";
    static const std::string many_lines = [] {
        std::string lines;
        for (int i = 0; i < 20'000; ++i) {
            lines += "    value_" + std::to_string(i) + " = compute(value);\n";
        }
        return lines;
    }();
    constexpr std::string_view kTexts[] = {
        "",
        "\n",
        "hello",
        "hello\n",
        "int main() {\r\n    return 0;\r\n}\r\n",
        "\t\tdeep:\n\n\n",
        "def f(x):\n    return x\n",
        "na\xc3\xafve = \"\xf0\x9f\x94\xa5\"\n",
        std::string_view("a\0b\nc", 5),
        "}}}}\n))))\n",
        "{\n{\n{\n{\n",
    };
    std::vector<hearth_document> documents;
    const auto add = [&](std::string_view whole) {
        for (const std::uint64_t cursor : {std::uint64_t{0}, std::uint64_t{whole.size()}}) {
            documents.push_back({text("file:///a.cpp"), text("cpp"), text(whole), cursor});
        }
    };
    for (const std::string_view whole : kTexts) {
        add(whole);
    }
    add(long_line);
    add(many_lines);
    return documents;
}

/// How one call went, noted for the thread that may check (Catch's macros are for one thread).
struct Outcome {
    hearth_status status = HEARTH_OK;
    std::map<std::uint32_t, std::string> items;
    int emitted_after_cancel = 0;
    std::chrono::steady_clock::duration took{};
};

/// What a list of actions must be; empty if it is.
std::string fault_of(const hearth_action* actions, std::uint32_t count, std::uint64_t text_bytes) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const hearth_action& action = actions[i];
        if (action.range.begin_byte > action.range.end_byte) return "a range that runs backwards";
        if (action.range.end_byte > text_bytes) return "a range outside of the text";
        if (action.title.bytes == 0) return "an action without a title";
        if (action.kind > HEARTH_ACTION_FIXES) return "an unknown kind of action";
    }
    return {};
}

/// Everything that an instance offers, once, at one document.
class Use {
  public:
    Use(const Instance& used, const hearth_document& used_document, int pieces = INT32_MAX)
        : instance(used),
          document(used_document),
          pieces_until_cancel(pieces) {
        if (const auto* table =
                instance.table<hearth_inline_completion>(HEARTH_EXT_INLINE_COMPLETION)) {
            call([&](const hearth_job* job) {
                return table->complete(instance.abi, &document, job);
            });
        }
        if (const auto* table =
                instance.table<hearth_context_provider>(HEARTH_EXT_CONTEXT_PROVIDER)) {
            call([&](const hearth_job* job) {
                return table->gather(instance.abi, &document, 4096, job);
            });
        }
        if (const auto* table = instance.table<hearth_code_action>(HEARTH_EXT_CODE_ACTION)) {
            const std::uint64_t end = document.text.bytes;
            const hearth_diagnostic diagnostics[] = {
                {{0, 0}, 1, text("test"), text("something is wrong")},
                {{end, end}, 4, text(""), text("")}};
            act(*table, {{document.cursor_byte, document.cursor_byte}, nullptr, 0});
            act(*table, {{0, end}, diagnostics, 2});
        }
    }

    std::vector<Outcome> outcomes;
    std::string fault;

  private:
    void call(const std::function<hearth_status(const hearth_job*)>& work) {
        Job job(pieces_until_cancel);
        const auto began = std::chrono::steady_clock::now();
        const hearth_status status = work(&job.abi);
        const auto took = std::chrono::steady_clock::now() - began;
        outcomes.push_back({status, job.items, job.emitted_after_cancel, took});
    }

    void act(const hearth_code_action& table, const hearth_selection& selection) {
        constexpr std::uint32_t kRoom = 4;
        hearth_action actions[kRoom] = {};
        const std::uint32_t count = table.list(instance.abi, &document, &selection, actions, kRoom);
        if (count > kRoom) {
            fault = "more actions than there was room for";
            return;
        }
        if (fault.empty()) fault = fault_of(actions, count, document.text.bytes);
        std::vector<std::uint32_t> ids = {UINT32_MAX - 1};  // and one that was never listed
        for (std::uint32_t i = 0; i < count; ++i) {
            ids.push_back(actions[i].id);
        }
        for (const std::uint32_t id : ids) {
            call([&](const hearth_job* job) {
                return table.run(instance.abi, &document, &selection, id, job);
            });
        }
        if (table.list(instance.abi, &document, &selection, actions, 0) != 0) {
            fault = "actions although there was no room";
        }
    }

    const Instance& instance;
    const hearth_document& document;
    const int pieces_until_cancel;
};

void check_sound(const Use& use) {
    INFO(use.fault);
    CHECK(use.fault.empty());
    CHECK_FALSE(use.outcomes.empty());
    for (const Outcome& outcome : use.outcomes) {
        CHECK(is_status(outcome.status));
    }
}

std::vector<hearth_document> other_documents() {
    return {{text("file:///b.cpp"), text("cpp"), text("int hello = compute(value);\n"), 3},
            {text("file:///c.py"), text("python"), text("def f(x):\n    return x\n"), 0}};
}

TEST_CASE("the factory lists what it creates and nothing else", "[conformance]") {
    const std::uint32_t count = factory().count();
    REQUIRE(count > 0);
    const Host host(1);
    for (std::uint32_t i = 0; i < count; ++i) {
        const hearth_descriptor* const descriptor = factory().describe(i);
        REQUIRE(descriptor != nullptr);
        REQUIRE(descriptor->id != nullptr);
        REQUIRE(descriptor->name != nullptr);
        REQUIRE(descriptor->version != nullptr);
        CHECK(std::strlen(descriptor->id) > 0);
        CHECK(factory().describe(i) == descriptor);
        const Instance never_started(host, i);
    }
    CHECK(factory().describe(count) == nullptr);
    CHECK(factory().describe(UINT32_MAX) == nullptr);
    CHECK(factory().create(&host.abi, "no.such.plugin") == nullptr);
}

TEST_CASE("a second init is refused and the instance works on", "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        const Host host(3);
        const Instance instance(host, i);
        REQUIRE(instance.init());
        CHECK_FALSE(instance.init());
        check_sound(Use(instance, odd_documents()[4]));
    }
}

TEST_CASE("two instances live beside each other", "[conformance]") {
    const Host host(3);
    const Instance first(host, 0);
    CHECK(first.init());
    {
        const Instance second(host, 0);
        CHECK(second.init());
    }
    check_sound(Use(first, odd_documents()[4]));
}

TEST_CASE("a host without extensions is refused or lived with", "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        const Host host(0, false);
        const Instance instance(host, i);  // destroyed also after a failed init
        if (!instance.init()) continue;
        for (const hearth_document& document : odd_documents()) {
            check_sound(Use(instance, document));
        }
    }
}

TEST_CASE("an extension is the same table at each lookup, from any thread, and null if unknown",
          "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        const Host host(1);
        const Instance instance(host, i);
        REQUIRE(instance.init());
        constexpr const char* kIds[] = {HEARTH_EXT_INLINE_COMPLETION,
                                        HEARTH_EXT_CODE_ACTION,
                                        HEARTH_EXT_CONTEXT_PROVIDER,
                                        "hearth.no-such-extension/0",
                                        ""};
        std::map<std::string, const void*> expected;
        for (const char* const id : kIds) {
            expected[id] = instance.abi->get_extension(instance.abi, id);
        }
        CHECK(expected["hearth.no-such-extension/0"] == nullptr);
        CHECK(expected[""] == nullptr);
        std::atomic<int> differences = 0;
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreadCount; ++t) {
            threads.emplace_back([&] {
                for (int round = 0; round < 1000; ++round) {
                    for (const char* const id : kIds) {
                        const void* const found = instance.abi->get_extension(instance.abi, id);
                        if (found != expected.at(id)) ++differences;
                    }
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(differences == 0);
    }
}

TEST_CASE("odd documents are no reason to fail", "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        Host host(3);
        host.documents = other_documents();
        const Instance instance(host, i);
        REQUIRE(instance.init());
        for (const hearth_document& document : odd_documents()) {
            INFO("text of " << document.text.bytes << " bytes, cursor " << document.cursor_byte);
            const Use use(instance, document);
            check_sound(use);
            for (const Outcome& outcome : use.outcomes) {
                CHECK(outcome.status != HEARTH_FAILED);
            }
        }
    }
}

TEST_CASE("several jobs at once on one instance do not meet", "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        Host host(5);
        host.documents = other_documents();
        const Instance instance(host, i);
        REQUIRE(instance.init());
        const std::vector<hearth_document> documents = odd_documents();
        const auto answers = [&](std::size_t d) {
            std::vector<std::map<std::uint32_t, std::string>> items;
            for (const Outcome& outcome : Use(instance, documents[d]).outcomes) {
                items.push_back(outcome.items);
            }
            return items;
        };
        const auto expected_hello = answers(5);
        const auto expected_main = answers(9);
        std::atomic<int> differences = 0;
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreadCount; ++t) {
            threads.emplace_back([&, t] {
                for (int round = 0; round < 50; ++round) {
                    const bool is_hello = (t + round) % 2 == 0;
                    if (answers(is_hello ? 5 : 9) != (is_hello ? expected_hello : expected_main)) {
                        ++differences;
                    }
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(differences == 0);
    }
}

TEST_CASE("a job that is cancelled ends within its bound and is not spoken to again",
          "[conformance]") {
    for (std::uint32_t i = 0; i < factory().count(); ++i) {
        Host host(INT32_MAX);  // ends only when it is told to
        for (int copies = 0; copies < 100; ++copies) {
            for (const hearth_document& document : odd_documents()) {
                host.documents.push_back(document);
            }
        }
        const Instance instance(host, i);
        REQUIRE(instance.init());
        for (const hearth_document& document : odd_documents()) {
            for (const int pieces : {0, 1, 3}) {
                const Use use(instance, document, pieces);
                check_sound(use);
                for (const Outcome& outcome : use.outcomes) {
                    CHECK(outcome.emitted_after_cancel == 0);
                    CHECK(outcome.took < kCancelBound);
                }
            }
        }
    }
}

}  // namespace
