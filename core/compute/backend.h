// Backend: one device. It takes weights, compiles Plans into Programs and holds the key/value
// cache's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/compute/plan.h"
#include "core/compute/sampling.h"
#include "core/compute/tensor.h"

namespace hearth::compute {

/// Tokens that share a cache block. Fixed: block tables, prefix matching and kernels rely on it.
inline constexpr std::int32_t kBlockTokens = 16;

/// The memory of a key/value cache: `block_count` blocks of kBlockTokens rows for every layer.
class KvStore {
  public:
    KvStore() = default;
    KvStore(const KvStore&) = delete;
    KvStore& operator=(const KvStore&) = delete;
    virtual ~KvStore() = default;

    [[nodiscard]] virtual std::int32_t block_count() const = 0;
    [[nodiscard]] virtual std::int64_t size_bytes() const = 0;
    /// Copies the rows of block `from` into block `to`, all layers.   Thread: engine.
    virtual void copy_block(std::int32_t from, std::int32_t to) = 0;
};

/// One sequence as a step sees it.
struct SequenceView {
    std::span<const std::int32_t>
        block_table;  ///< block of token i is block_table[i / kBlockTokens]
    /// Of the sequence's first tokens, those that were known when it began. A backend may compute
    /// their rows otherwise than those of picked ones, by position and this number alone.
    std::int32_t prompt_tokens = 0;
};

/// Asks whether a step that runs is still wanted.
class StepWatch {
  public:
    StepWatch() = default;
    StepWatch(const StepWatch&) = delete;
    StepWatch& operator=(const StepWatch&) = delete;
    virtual ~StepWatch() = default;

    /// Once true, true until the step ends.   Thread: any, often.
    [[nodiscard]] virtual bool is_unwanted() const noexcept = 0;
};

/// What one forward pass works on. Tokens of one sequence are consecutive and in order of position;
/// all earlier positions of the sequence are in the cache.
struct StepBatch {
    std::span<const std::int32_t> tokens;       ///< (tokens)
    std::span<const std::int32_t> positions;    ///< (tokens) place in the sequence, from 0
    std::span<const std::int32_t> sequence_of;  ///< (tokens) index into sequences
    std::span<const SequenceView> sequences;
    std::span<const std::int32_t>
        logit_rows;                    ///< indices into tokens, ascending: whose logits are wanted
    std::span<const float> rows = {};  ///< (tokens, dim of Plan::rows_in), or none
    /// Null: the step runs to its end. Not every Program looks at it.
    const StepWatch* watch = nullptr;
};

struct StepOutput {
    /// (logit_rows, vocab_size). Owner: the Program; valid until its next run.
    std::span<const float> logits;
    std::span<const float> rows = {};  ///< (tokens, dim of Plan::rows_out), or none; the same
};

/// A device that picks tokens where it computes their logits, so that a step can be launched before
/// the tokens of the one before it are known here. Steps are computed in the order of their launch,
/// and KvStore::copy_block takes its place in that order.
///
/// Thread: engine.
class StepQueue {
  public:
    /// Steps that may be launched and not yet collected.
    static constexpr std::size_t kStepsMax = 2;

    StepQueue() = default;
    StepQueue(const StepQueue&) = delete;
    StepQueue& operator=(const StepQueue&) = delete;
    virtual ~StepQueue() = default;

    /// The token that `row` of the step launched before this one picks, as StepBatch::tokens names
    /// it.
    static constexpr std::int32_t token_of_row(std::int32_t row) { return -1 - row; }

    /// Queues a step; `orders` has one entry per logit row. The batch is borrowed for the call.
    ///
    /// Errors: those of Program::run as far as they show at once. A step that failed here is not
    /// collected.
    virtual Result<void> launch(const StepBatch& batch,
                                std::span<const PickOrder> orders,
                                KvStore& kv) = 0;

    /// Waits for the oldest step that was launched: what its rows picked. Owner: the queue; valid
    /// until the next call.
    ///
    /// Errors: those of Program::run; the step counts as collected.
    virtual Result<std::span<const Pick>> collect() = 0;
};

/// Where experts that stay in the host's memory were read, since the Program was made. An expert
/// that a layer uses in a step counts once, for however many tokens.
struct ExpertUses {
    std::int64_t on_device = 0;
    std::int64_t in_all = 0;
};

/// A Plan compiled for one device. All memory is taken at compile time.
class Program {
  public:
    Program() = default;
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    virtual ~Program() = default;

    /// Runs one step: at most the Plan's tokens_max tokens.
    ///
    /// Errors: out_of_memory or internal where the device fails, device_lost where it will fail
    /// from here on, cancelled where the watch said so; the cache rows of the step are then
    /// undefined. Thread: engine.
    virtual Result<StepOutput> run(const StepBatch& batch, KvStore& kv) = 0;

    /// Null where tokens are picked on the host. Owner: the Program, which may be destroyed with
    /// steps that nobody collected.
    virtual StepQueue* step_queue() { return nullptr; }

    /// Bytes of weights that one decoded token reads at batch 1, for the `bench` command.
    [[nodiscard]] virtual std::int64_t bytes_per_token() const = 0;
    /// Kernels that the last run launched; 0: the device has none, or does not count them.
    [[nodiscard]] virtual std::int64_t kernels_per_run() const { return 0; }
    /// None where no experts are on the host.   Thread: engine.
    [[nodiscard]] virtual ExpertUses expert_uses() const { return {}; }
};

/// Weights in the form the device wants. Shared by all Programs compiled with it, which must not
/// outlive it.
class DeviceWeights {
  public:
    DeviceWeights() = default;
    DeviceWeights(const DeviceWeights&) = delete;
    DeviceWeights& operator=(const DeviceWeights&) = delete;
    virtual ~DeviceWeights() = default;
};

/// Memory of a device at one moment.
struct DeviceMemory {
    std::int64_t free_bytes = 0;
    std::int64_t total_bytes = 0;
    bool is_host = false;  ///< the machine's own, into which the model's file is mapped
};

/// The routed experts of one layer where they stay in the host's memory: weights of shape (experts,
/// ..., ...), of which the device holds `slot_count` experts at a time.
struct HostExperts {
    WeightId gate = kNone, up = kNone, down = kNone;
    std::int32_t slot_count = 0;  ///< at least 1, below the number of experts
};

class Backend {
  public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    /// "reference", "cpu", "cuda".
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// The device in words, for `hearth status`: "2 threads, avx2".
    [[nodiscard]] virtual std::string description() const = 0;
    /// Empty where it is not known.
    [[nodiscard]] virtual std::optional<DeviceMemory> memory() const { return std::nullopt; }
    /// Bytes a second that the device reads from `bytes` of its memory with nothing else to do:
    /// what `bench` holds decode against. 0: not known. Takes a moment and the memory.   Thread:
    /// engine.
    [[nodiscard]] virtual double measure_read_rate(std::int64_t /*bytes*/) { return 0.0; }

    /// Takes the weights. A backend may borrow the tensors' bytes: they outlive the result.
    virtual Result<std::unique_ptr<DeviceWeights>> upload(std::span<const Tensor> weights) = 0;
    /// The same, but for some experts.   Errors: also unsupported.
    virtual Result<std::unique_ptr<DeviceWeights>> upload_partly(
        std::span<const Tensor> /*weights*/, std::span<const HostExperts> /*on_host*/) {
        return fail(
            ErrorCode::unsupported,
            "the " + std::string(name()) + " backend cannot leave experts in the host's memory",
            "backend");
    }
    /// Whether the cache can be of this type; who compiles a plan asks first.
    [[nodiscard]] virtual bool has_cache_type(Dtype dtype) const { return dtype == Dtype::f16; }
    /// Errors: unsupported.
    [[nodiscard]] Result<void> check_cache_type(Dtype dtype) const {
        if (has_cache_type(dtype)) return {};
        return fail(ErrorCode::unsupported,
                    "the " + std::string(name()) + " backend cannot keep keys and values in " +
                        std::string(traits(dtype).name) +
                        "; ask for kv-cache f16, or for the cpu backend",
                    "backend");
    }
    /// Whether a plan may take rows in and hand rows out (Plan::rows_in, rows_out).
    [[nodiscard]] virtual bool passes_rows() const { return false; }
    /// `plan` has passed validate() with the same weights; it is copied where needed.
    virtual Result<std::unique_ptr<Program>> compile(const Plan& plan, DeviceWeights& weights) = 0;
    virtual Result<std::unique_ptr<KvStore>> make_kv_store(const KvLayout& layout,
                                                           std::int32_t block_count) = 0;
};

}  // namespace hearth::compute
