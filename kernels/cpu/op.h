// What a Plan's operations become: token operations, which look at one token's row at a time, and
// parallel operations, which are cut into units that any thread may take. An operation says which
// columns it touches; program.h decides from that what runs together. Results never depend on which
// thread ran what, nor on how many there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/base/assert.h"
#include "core/compute/backend.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/kv_store.h"

namespace hearth::cpu {

/// Memory with one row per token of the step. The first numbers are those of the Plan's values;
/// rounded activations and intermediate results follow.
using BufferId = std::int32_t;

/// Bytes [offset, offset + bytes) of each row of a buffer.
struct Place {
    BufferId buffer = compute::kNone;
    std::int64_t offset = 0;
    std::int64_t bytes = 0;

    friend bool operator==(const Place&, const Place&) = default;
    [[nodiscard]] bool overlaps(const Place& other) const {
        return buffer == other.buffer && offset < other.offset + other.bytes &&
               other.offset < offset + bytes;
    }
};

struct Access {
    Place place;
    bool is_write;
};

/// Whose rows an operation works on.
enum class Rows : std::uint8_t {
    all,     ///< the step's
    wanted,  ///< those whose logits the step asks for: nothing but these comes of the others
};

struct BufferMemory {
    std::byte* rows;
    std::int64_t row_bytes;
};

/// One run of a Program, as its operations see it. `token` is an index into `rows` everywhere.
struct Step {
    const compute::StepBatch& batch;
    std::span<const std::int32_t> rows;  ///< the batch's tokens that are worked on, ascending
    CpuKvStore& kv;
    const Kernels& kernels;
    std::int32_t thread_count;
    std::span<const BufferMemory> buffers;
    std::span<float> logits;  ///< (logit rows, vocab_size)
    float* rows_out;          ///< (tokens of the batch, dim of Plan::rows_out); null: none

    [[nodiscard]] bool is_unwanted() const {
        return batch.watch != nullptr && batch.watch->is_unwanted();
    }

    [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(rows.size()); }
    /// The token's index in the batch.
    [[nodiscard]] std::size_t in_batch(std::int64_t token) const {
        return static_cast<std::size_t>(rows[static_cast<std::size_t>(token)]);
    }
    [[nodiscard]] std::int32_t position(std::int64_t token) const {
        return batch.positions[in_batch(token)];
    }
    [[nodiscard]] std::span<const std::int32_t> block_table(std::int64_t token) const {
        const std::int32_t sequence = batch.sequence_of[in_batch(token)];
        return batch.sequences[static_cast<std::size_t>(sequence)].block_table;
    }
    template <typename T>
    [[nodiscard]] T* row(const Place& place, std::int64_t token) const {
        const BufferMemory& memory = buffers[static_cast<std::size_t>(place.buffer)];
        const auto row = static_cast<std::int64_t>(in_batch(token));
        return reinterpret_cast<T*>(memory.rows + row * memory.row_bytes + place.offset);
    }
    /// Elements of T from the row of one token of the batch to that of the next.
    template <typename T>
    [[nodiscard]] std::int64_t stride(const Place& place) const {
        return buffers[static_cast<std::size_t>(place.buffer)].row_bytes /
               static_cast<std::int64_t>(sizeof(T));
    }
};

/// Memory of one thread while it runs one token or unit.
class Scratch {
  public:
    explicit Scratch(std::span<std::byte> memory) : memory_(memory) {}

    /// What `take` uses up.
    template <typename T>
    static std::int64_t bytes(std::int64_t count) {
        return (count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment *
               kAlignment;
    }
    template <typename T>
    T* take(std::int64_t count) {
        const auto taken = static_cast<std::size_t>(bytes<T>(count));
        HEARTH_ASSERT(taken <= memory_.size());
        T* const first = reinterpret_cast<T*>(memory_.data());
        memory_ = memory_.subspan(taken);
        return first;
    }

  private:
    static constexpr std::int64_t kAlignment = 64;
    std::span<std::byte> memory_;
};

class Op {
  public:
    Op() = default;
    Op(const Op&) = delete;
    Op& operator=(const Op&) = delete;
    virtual ~Op() = default;

    [[nodiscard]] std::span<const Access> accesses() const { return accesses_; }
    /// What one `run` takes from its Scratch.
    [[nodiscard]] virtual std::int64_t scratch_bytes() const { return 0; }
    /// Whether what it does is there after the step, beside the logits.
    [[nodiscard]] virtual bool outlives_step() const { return false; }

    [[nodiscard]] Rows rows() const { return rows_; }
    void set_rows(Rows rows) { rows_ = rows; }

  protected:
    void reads(const Place& place) { accesses_.push_back({place, false}); }
    void writes(const Place& place) { accesses_.push_back({place, true}); }

  private:
    std::vector<Access> accesses_;
    Rows rows_ = Rows::all;
};

/// Touches the rows of `token` only.
class TokenOp : public Op {
  public:
    virtual void run(const Step& step, std::int64_t token, Scratch scratch) const = 0;
};

class ParallelOp : public Op {
  public:
    /// Before the units of a step with tokens, on one thread.
    virtual void prepare(const Step& step);
    [[nodiscard]] virtual std::int64_t unit_count(const Step& step) const = 0;
    virtual void run(const Step& step, std::int64_t unit, Scratch scratch) const = 0;

    /// Where each unit u writes the chunk u of row_chunk_size(...) columns, and reads no other
    /// columns of it; empty for operations that are cut in another way. Two such operations over
    /// the same columns may run one after the other within a unit.
    [[nodiscard]] virtual std::optional<Place> chunked_out() const { return std::nullopt; }
};

/// Rows of a weight matrix in one unit: enough units to share out, small enough for the cache.
/// `matrices`: how many of so many rows are cut at once.
std::int64_t row_chunk_size(std::int64_t rows, const Step& step, std::int64_t matrices = 1);
std::int64_t row_chunk_count(std::int64_t rows, const Step& step, std::int64_t matrices = 1);

/// The rows of chunk `unit`.
struct RowRange {
    std::int64_t begin;
    std::int64_t count;
};
RowRange row_chunk(std::int64_t rows,
                   std::int64_t unit,
                   const Step& step,
                   std::int64_t matrices = 1);

inline constexpr std::int64_t kChunkRowsMax = 128;
/// Tokens whose results one call of a dot kernel leaves in scratch, at most; a step's kernels say
/// how many it is (`panel_tokens`).
inline constexpr std::int64_t kTokenTile = kPanelTokensMax;

}  // namespace hearth::cpu
