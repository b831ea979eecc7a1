// ExpertStore: routed experts that stay in the host's pinned memory, and the slots on the device
// for those used last. Kernels find an expert through a table in device memory, so that a captured
// graph stays valid: one that is in no slot is read over the bus. Between steps the store copies
// missing experts into slots, on a stream of its own, and changes the table in the order of steps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "kernels/cuda/expert_slots.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/memory.h"

namespace hearth::cuda {

/// Thread: engine; one step after the other, in one stream.
class ExpertStore {
  public:
    /// Experts that are copied at once: as many as the bus moves in a step or a few.
    static constexpr std::size_t kFetchesMax = 16;

    /// Repacks all experts of `layers`; their slots are empty.
    /// Errors: out_of_memory (of the device, or no more memory of the host can be pinned).
    static Result<std::unique_ptr<ExpertStore>> make(std::span<const compute::Tensor> tensors,
                                                     std::span<const compute::HostExperts> layers);
    ~ExpertStore();
    ExpertStore(const ExpertStore&) = delete;
    ExpertStore& operator=(const ExpertStore&) = delete;

    /// Empty for a weight that is not here.
    [[nodiscard]] std::optional<Matrix> matrix(compute::WeightId id) const;

    /// Pinned memory that each step needs from its launch until it has been noted.
    [[nodiscard]] std::int64_t step_bytes() const;
    /// Queues what goes before a step's kernels: changes of the table, and new fetches behind the
    /// steps that still read what makes way.
    Result<void> begin_step(std::byte* memory, cudaStream_t stream);
    /// Queues what goes behind them.
    Result<void> end_step(std::byte* memory, cudaStream_t stream);
    /// Learns which experts a step used, once it has ended. Steps are noted in order.
    void note_step(const std::byte* memory);

    [[nodiscard]] compute::ExpertUses uses() const { return uses_; }

  private:
    struct Layer {
        Layer(const compute::HostExperts& of, int expert_count)
            : weights{of.gate, of.up, of.down},
              slots(expert_count, of.slot_count) {}

        std::array<compute::WeightId, 3> weights;
        std::vector<Matrix> matrices;     ///< of the three, at the first expert on the host
        std::int64_t expert_bytes = 0;    ///< planes of all three, on the host as in a slot
        std::vector<std::byte*> on_host;  ///< by expert
        std::byte* on_device = nullptr;   ///< slots
        std::size_t table_begin = 0;      ///< place of the first expert in the tables
        ExpertSlots slots;
    };
    struct Fetch {
        std::size_t layer;
        ExpertSlots::Fetch what;
    };

    ExpertStore() = default;
    Result<void> pin(std::int64_t total_bytes);
    Result<void> take_device_memory();
    void fill(std::span<const compute::Tensor> tensors, Layer& layer) const;
    static std::int64_t shift_of(const Layer& layer, const std::byte* place);
    void set_place(const Layer& layer, int expert, const std::byte* place);
    Result<void> end_fetches();
    void choose_fetches();
    Result<void> start_copies(cudaStream_t stream);

    [[nodiscard]] std::int64_t* device_table() const {
        return reinterpret_cast<std::int64_t*>(tables_.data());
    }
    [[nodiscard]] std::uint8_t* device_used() const {
        return reinterpret_cast<std::uint8_t*>(device_table() + shifts_.size());
    }

    // Fixed after make.
    std::vector<PinnedBuffer> slabs_;
    DeviceBuffer slot_memory_;
    DeviceBuffer tables_;  ///< shifts of all layers' experts, then whether they were used
    std::shared_ptr<Stream> copies_;
    Event border_;   ///< in the steps' stream: nobody reads what made way any more
    Event arrived_;  ///< in the copies': the fetches are done

    std::vector<Layer> layers_;
    std::vector<std::int64_t> shifts_;  ///< as the last queued step finds them
    bool is_changed_ = true;            ///< since then
    std::vector<Fetch> on_the_way_;
    bool is_copying_ = false;
    std::size_t next_layer_ = 0;  ///< that is asked first for a fetch
    compute::ExpertUses uses_;
};

}  // namespace hearth::cuda
