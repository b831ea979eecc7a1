// Which backend a model is loaded on, and with how long a context, on devices of any size.
#include "core/cli/load_engine.h"

#include <atomic>
#include <future>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

#include "core/base/bounded_queue.h"
#include "core/cli/staged_engine.h"
#include "kernels/reference/reference_backend.h"
#include "tests/core/engine/toy_engine.h"
#include "tests/support/fake_clock.h"
#include "tests/support/tiny_model.h"

namespace hearth::cli {
namespace {

constexpr std::int64_t kGib = std::int64_t{1} << 30;

struct FakeDevice {
    std::string name = "cuda";
    std::int64_t free_bytes = kGib;
    bool is_host = false;
    bool is_cache_refused = false;
    bool is_named_only = false;
    bool has_host_memory = true;                ///< false: its upload throws std::bad_alloc
    bool has_threads = true;                    ///< false: its upload throws std::system_error
    std::shared_future<void> loads_after = {};  ///< valid: its upload waits for it
    std::shared_ptr<std::atomic<bool>> is_lost = std::make_shared<std::atomic<bool>>(false);
};

/// The reference's program on a device that may be lost.
class FakeProgram final : public compute::Program {
  public:
    FakeProgram(std::unique_ptr<compute::Program> inner, std::shared_ptr<std::atomic<bool>> is_lost)
        : inner_(std::move(inner)),
          is_lost_(std::move(is_lost)) {}
    Result<compute::StepOutput> run(const compute::StepBatch& batch,
                                    compute::KvStore& kv) override {
        if (*is_lost_) return fail(ErrorCode::device_lost, "a fault at 0x0");
        return inner_->run(batch, kv);
    }
    [[nodiscard]] std::int64_t bytes_per_token() const override {
        return inner_->bytes_per_token();
    }

  private:
    const std::unique_ptr<compute::Program> inner_;
    const std::shared_ptr<std::atomic<bool>> is_lost_;
};

/// The reference backend with a memory that ends where the test says.
class FakeBackend final : public compute::Backend {
  public:
    explicit FakeBackend(FakeDevice device) : device_(std::move(device)) {}

    [[nodiscard]] std::string_view name() const override { return device_.name; }
    [[nodiscard]] std::string description() const override { return "a fake"; }
    [[nodiscard]] std::optional<compute::DeviceMemory> memory() const override {
        return compute::DeviceMemory{device_.free_bytes, 80 * kGib, device_.is_host};
    }
    [[nodiscard]] bool has_cache_type(compute::Dtype dtype) const override {
        return device_.is_host || dtype == compute::Dtype::f16;
    }
    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> weights) override {
        if (device_.loads_after.valid()) device_.loads_after.wait();
        if (!device_.has_host_memory) throw std::bad_alloc();
        if (!device_.has_threads) {
            throw std::system_error(
                std::make_error_code(std::errc::resource_unavailable_try_again));
        }
        return inner_->upload(weights);
    }
    Result<std::unique_ptr<compute::Program>> compile(const compute::Plan& plan,
                                                      compute::DeviceWeights& weights) override {
        HEARTH_TRY(auto program, inner_->compile(plan, weights));
        return std::unique_ptr<compute::Program>(
            std::make_unique<FakeProgram>(std::move(program), device_.is_lost));
    }
    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& layout,
                                                            std::int32_t block_count) override {
        if (device_.is_cache_refused) return fail(ErrorCode::out_of_memory, "no room for a cache");
        return inner_->make_kv_store(layout, block_count);
    }

  private:
    const FakeDevice device_;
    const std::unique_ptr<compute::Backend> inner_ = reference::make_reference_backend();
};

struct Fixture {
    explicit Fixture(const std::vector<FakeDevice>& devices) {
        int score = 100;
        for (const FakeDevice& device : devices) {
            registry.add(
                device.name,
                device.is_named_only ? compute::BackendRegistry::kNamedOnly : score--,
                [device](const compute::BackendOptions&) {
                    return Result<std::unique_ptr<compute::Backend>>(
                        std::make_unique<FakeBackend>(device));
                },
                device.is_host ? "" : "a fake");
        }
    }
    [[nodiscard]] Result<LoadedEngine> load(const LoadSettings& settings = {}) const {
        return load_engine(model, registry, settings, clock);
    }

    std::shared_ptr<const model::Model> model = test::tiny_model({.context_length = 65'536});
    compute::BackendRegistry registry;
    test::FakeClock clock;
};

TEST_CASE("a device that cannot draft by the model's block serves without and says so",
          "[cli][load_engine]") {
    Fixture fixture(std::vector<FakeDevice>(1));
    CHECK(fixture.load().value().warnings.empty());
    fixture.model = test::tiny_model({.layer_count = 4, .has_prediction_block = true});
    const auto loaded = fixture.load();
    REQUIRE(loaded);
    CHECK_FALSE(loaded->engine->status().has_predictor);
    REQUIRE(loaded->warnings.size() == 1);
    CHECK_THAT(loaded->warnings[0], Catch::Contains("cuda backend does not draft"));
    LoadSettings settings;
    settings.limits.has_prediction = false;
    CHECK(fixture.load(settings).value().warnings.empty());
}

/// A fixture's staged engine and what it has said.
struct Staged {
    explicit Staged(const Fixture& fixture, const LoadSettings& settings = {}) {
        auto made = StagedEngine::make(fixture.model,
                                       fixture.registry,
                                       settings,
                                       fixture.clock,
                                       [this](LogLevel, const std::string& text) {
                                           // On the thread that loads, where Catch cannot be asked.
                                           const bool has_room = said.try_push(text);
                                           HEARTH_ASSERT(has_room);
                                       });
        REQUIRE(made);
        engine = std::move(*made);
    }
    /// A greedy answer of ten tokens.
    test::Answer ask() const {
        test::Answer answer;
        engine::Request request = test::request_of({1, 2, 3}, 10);
        request.sink = answer.sink();
        REQUIRE(engine->engine().submit(std::move(request)));
        return answer;
    }
    BoundedQueue<std::string> said{8};
    std::unique_ptr<StagedEngine> engine;
};

/// What the whole model takes with the least context that is chosen.
std::int64_t least_bytes(const Fixture& fixture) {
    model::PlacementRequest request{
        .step_tokens = model::prompt_tokens_per_step("cuda", fixture.model->config()) +
                       engine::EngineLimits{}.sequences_max,
        .costs = model::device_costs("cuda")};
    request.costs.can_leave_experts = false;
    return place(*fixture.model, request).missing_bytes;
}

const FakeDevice kHost{.name = "cpu", .is_host = true};
const FakeDevice kLittleHost{.name = "cpu", .free_bytes = 1000, .is_host = true};
const FakeDevice kReference{.name = "reference", .is_host = true, .is_named_only = true};

TEST_CASE("a device gets as long a context as it has room for", "[cli][load]") {
    const auto loaded = Fixture({{}, kHost}).load();
    REQUIRE(loaded);
    CHECK(loaded->backend->name() == "cuda");
    CHECK(loaded->engine->limits().context_tokens_max == 65'536);
    CHECK(loaded->engine->limits().cache_tokens == 65'536);
    CHECK(loaded->warnings.empty());
    CHECK_THAT(loaded->placement, Catch::Contains("a context of 65536 tokens, all on the device"));

    // Room for 10,000 tokens and 5 bytes more than for the least context.
    const Fixture less({});
    const model::Placement least =
        place(*less.model,
              {.free_bytes = kGib, .context_tokens = 8192, .costs = model::device_costs("cuda")});
    const std::int64_t row_bytes = least.cache_bytes / 8192;
    const Fixture small({{.free_bytes = least_bytes(less) + 1808 * row_bytes + 5}, kHost});
    const auto cut = small.load();
    REQUIRE(cut);
    CHECK(cut->engine->limits().context_tokens_max == 10'000);
}

TEST_CASE("a context that was asked for is kept, and the cache has room for more", "[cli][load]") {
    LoadSettings settings;
    settings.limits.context_tokens_max = 1000;
    settings.is_context_asked = true;
    const auto loaded = Fixture({{}, kHost}).load(settings);
    REQUIRE(loaded);
    CHECK(loaded->engine->limits().context_tokens_max == 1000);
    CHECK(loaded->engine->limits().cache_tokens == settings.limits.cache_tokens);
}

TEST_CASE("the host's memory gets the engine's own limits", "[cli][load]") {
    const auto loaded = Fixture({kHost}).load();
    REQUIRE(loaded);
    CHECK(loaded->engine->limits().context_tokens_max == 8192);
    CHECK(loaded->engine->limits().cache_tokens == 32'768);
    CHECK_THAT(loaded->placement, Catch::Contains("in the machine's memory"));
}

TEST_CASE("a device that is too small makes way for the processor and says what is missing",
          "[cli][load]") {
    const Fixture dense({});
    const Fixture fixture({{.free_bytes = 1000}, kHost});
    const auto loaded = fixture.load();
    REQUIRE(loaded);
    CHECK(loaded->backend->name() == "cpu");
    REQUIRE(loaded->warnings.size() == 1);
    CHECK_THAT(loaded->warnings[0],
               Catch::Contains("does not fit cuda (a fake)") && Catch::Contains(" bytes (0.") &&
                   Catch::Contains("context_tokens") && Catch::Contains("quantisation"));
    // One that was asked for by name does not.
    const auto named = fixture.load({.backend = "cuda", .limits = {}});
    REQUIRE_FALSE(named);
    CHECK(named.error().code == ErrorCode::out_of_memory);
}

TEST_CASE("a cache in Q8_0 is for the processor: a device says that it takes halves",
          "[cli][load]") {
    LoadSettings settings;
    settings.limits.cache_type = compute::Dtype::q8_0;
    const auto device = Fixture({{}, kHost}).load(settings);
    REQUIRE(device);
    CHECK(device->backend->name() == "cuda");
    CHECK(device->engine->limits().cache_type == compute::Dtype::f16);
    CHECK(device->warnings ==
          std::vector<std::string>{"the cuda backend keeps keys and values in F16, not in Q8_0"});
    const auto host = Fixture({kHost}).load(settings);
    REQUIRE(host);
    CHECK(host->engine->limits().cache_type == compute::Dtype::q8_0);
    CHECK(host->warnings.empty());
    CHECK_THAT(host->placement, Catch::Contains("cache in Q8_0"));
}

TEST_CASE("memory that ends while loading does the same", "[cli][load]") {
    const auto loaded = Fixture({{.is_cache_refused = true}, kHost}).load();
    REQUIRE(loaded);
    CHECK(loaded->backend->name() == "cpu");
    CHECK(loaded->warnings == std::vector<std::string>{"no room for a cache"});
}

TEST_CASE("what a backend throws is an error of the load", "[cli][load]") {
    const auto loaded = Fixture({{.has_host_memory = false}, kHost}).load();
    REQUIRE(loaded);
    CHECK(loaded->backend->name() == "cpu");
    REQUIRE(loaded->warnings.size() == 1);
    CHECK_THAT(loaded->warnings[0],
               Catch::Contains("could not be loaded on cuda: the machine's memory ended; close "));
    const auto named =
        Fixture({{.has_threads = false}, kHost}).load({.backend = "cuda", .limits = {}});
    REQUIRE_FALSE(named);
    CHECK(named.error().code == ErrorCode::out_of_memory);
    CHECK_THAT(named.error().text, Catch::Contains("Resource temporarily unavailable; close "));
}

TEST_CASE("a machine that is too small serves slowly where nothing else is left", "[cli][load]") {
    const auto loaded = Fixture({kLittleHost, kReference}).load();
    REQUIRE(loaded);
    CHECK(loaded->backend->name() == "cpu");
    REQUIRE(loaded->warnings.size() == 1);
    CHECK_THAT(loaded->warnings[0], Catch::Contains("it will be slow"));
    // Behind a device that is too small as well.
    const auto second = Fixture({{.free_bytes = 1000}, kLittleHost, kReference}).load();
    REQUIRE(second);
    CHECK(second->backend->name() == "cpu");
    REQUIRE(second->warnings.size() == 2);
    CHECK_THAT(second->warnings[0], Catch::Contains("does not fit cuda"));
    CHECK_THAT(second->warnings[1],
               Catch::Contains("does not fit cpu") && Catch::Contains("it will be slow"));
}

TEST_CASE("the reference backend serves only where it is named", "[cli][load]") {
    FakeDevice broken = kHost;
    broken.is_cache_refused = true;
    const Fixture fixture({{.free_bytes = 1000}, broken, kReference});
    const auto none = fixture.load();
    REQUIRE_FALSE(none);
    CHECK_THAT(none.error().text,
               Catch::Contains("no room for a cache") && Catch::Contains("before that:") &&
                   Catch::Contains("does not fit cuda") && !Catch::Contains("reference"));
    const auto named = fixture.load({.backend = "reference", .limits = {}});
    REQUIRE(named);
    CHECK(named->backend->name() == "reference");
}

TEST_CASE("the processor answers until the accelerator has loaded", "[cli][load][staged]") {
    std::promise<void> is_loaded;
    const Fixture fixture({{.loads_after = is_loaded.get_future().share()}, kHost});
    Staged staged(fixture);
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cpu (a fake): "));
    CHECK_THAT(staged.engine->state().placement, Catch::EndsWith("; cuda is loading"));
    const test::Tokens text = staged.ask().wait().tokens();
    CHECK(text.size() == 10);
    is_loaded.set_value();
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cuda (a fake): "));
    CHECK(staged.engine->state().backend == "cuda (a fake)");
    CHECK_THAT(staged.engine->state().placement, Catch::EndsWith("all on the device"));
    CHECK(staged.engine->engine().limits().context_tokens_max == 65'536);
    staged.engine->release_idle();
    CHECK(staged.ask().wait().tokens() == text);
}

TEST_CASE("an accelerator that does not load leaves the processor in charge",
          "[cli][load][staged]") {
    const Fixture fixture({{.is_cache_refused = true}, kHost});
    Staged staged(fixture);
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cpu (a fake): "));
    CHECK(*staged.said.pop() == "the processor goes on serving: no room for a cache");
    const StagedEngine::State state = staged.engine->state();
    CHECK(state.backend == "cpu (a fake)");
    CHECK_THAT(state.placement, Catch::EndsWith("in the machine's memory"));
    CHECK(state.warnings.size() == 1);
    CHECK(staged.ask().wait().tokens().size() == 10);
}

TEST_CASE("where both memories are too small the processor serves and says so",
          "[cli][load][staged]") {
    const Fixture fixture({{.free_bytes = 1000}, kLittleHost, kReference});
    const Staged staged(fixture);
    const StagedEngine::State state = staged.engine->state();
    CHECK(state.backend == "cpu (a fake)");
    CHECK(state.warnings.size() == 2);
    CHECK(staged.ask().wait().tokens().size() == 10);
}

TEST_CASE("memory that ends on the loader's thread ends one load", "[cli][load][staged]") {
    const Fixture fixture({{.has_host_memory = false}, kHost});
    Staged staged(fixture);
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cpu (a fake): "));
    CHECK_THAT(*staged.said.pop(),
               Catch::StartsWith("the processor goes on serving: ") &&
                   Catch::Contains("the machine's memory ended"));
    CHECK(staged.engine->state().backend == "cpu (a fake)");
    CHECK(staged.ask().wait().tokens().size() == 10);
}

TEST_CASE("a backend that is named is the only stage", "[cli][load][staged]") {
    const Fixture fixture({{}, kHost});
    const Staged staged(fixture, {.backend = "cuda", .limits = {}});
    CHECK(staged.engine->state().backend == "cuda (a fake)");
}

TEST_CASE("an accelerator that is lost costs one answer, then the processor goes on",
          "[cli][load][staged]") {
    const FakeDevice device;
    const Fixture fixture({device, kHost});
    const bool is_named = GENERATE(false, true);
    Staged staged(fixture, {.backend = is_named ? "cuda" : "", .limits = {}});
    if (!is_named) CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cpu (a fake): "));
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cuda (a fake): "));
    const test::Tokens text = staged.ask().wait().tokens();
    CHECK(text.size() == 10);

    *device.is_lost = true;
    const auto error = staged.ask().wait().error();
    REQUIRE(error);
    CHECK(error->code == ErrorCode::device_lost);
    CHECK(error->text == "a fault at 0x0; ask again: another device takes over");
    const std::string said = *staged.said.pop();
    CHECK_THAT(said,
               Catch::StartsWith("cpu (a fake): ") &&
                   Catch::Contains("cuda (a fake) was lost, restart hearth to use it again: a "
                                   "fault at 0x0"));
    CHECK(said.find('\n') == std::string::npos);
    const StagedEngine::State state = staged.engine->state();
    CHECK(state.backend == "cpu (a fake)");
    CHECK_THAT(state.placement, Catch::EndsWith("in the machine's memory"));
    REQUIRE(state.warnings.size() == 1);
    CHECK_THAT(state.warnings[0], Catch::StartsWith("cuda (a fake) was lost"));
    CHECK(staged.ask().wait().tokens() == text);
    staged.engine->release_idle();
    CHECK(staged.ask().wait().tokens() == text);
}

TEST_CASE("a loss that the processor cannot make good is said", "[cli][load][staged]") {
    const FakeDevice device;
    FakeDevice host = kHost;
    host.is_cache_refused = true;
    const Fixture fixture({device, host});
    Staged staged(fixture, {.backend = "cuda", .limits = {}});
    CHECK_THAT(*staged.said.pop(), Catch::StartsWith("cuda (a fake): "));
    *device.is_lost = true;
    CHECK(staged.ask().wait().error());
    CHECK_THAT(*staged.said.pop(),
               Catch::StartsWith("cuda (a fake) was lost") &&
                   Catch::EndsWith("; the processor cannot take over: no room for a cache"));
    CHECK(staged.engine->state().warnings.size() == 1);
    CHECK(staged.ask().wait().error());
}

TEST_CASE("the end waits for a load", "[cli][load][staged]") {
    std::promise<void> is_loaded;
    const Fixture fixture({{.loads_after = is_loaded.get_future().share()}, kHost});
    std::thread later;
    {
        const Staged staged(fixture);
        later = std::thread([&] { is_loaded.set_value(); });
    }
    later.join();
}

}  // namespace
}  // namespace hearth::cli
