#include "kernels/cuda/expert_store.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/compute/host_memory.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/plane_pieces.h"

namespace hearth::cuda {
namespace {

using compute::Tensor;

/// Pinned at once: one piece for all would need as much unbroken memory.
constexpr std::int64_t kSlabBytes = std::int64_t{256} << 20;

const Tensor& tensor_of(std::span<const Tensor> tensors, compute::WeightId id) {
    return tensors[static_cast<std::size_t>(id)];
}

}  // namespace

Result<std::unique_ptr<ExpertStore>> ExpertStore::make(
    std::span<const Tensor> tensors, std::span<const compute::HostExperts> layers) {
    std::unique_ptr<ExpertStore> store(new ExpertStore);
    std::int64_t total_bytes = 0;
    for (const compute::HostExperts& each : layers) {
        const compute::Shape& shape = tensor_of(tensors, each.gate).shape;
        Layer& layer = store->layers_.emplace_back(each, static_cast<int>(shape.dim(0)));
        for (const compute::WeightId id : layer.weights) {
            const Tensor& tensor = tensor_of(tensors, id);
            layer.expert_bytes += plane_bytes(tensor, tensor.shape.dim(1));
        }
        layer.table_begin = store->shifts_.size();
        layer.on_host.resize(static_cast<std::size_t>(shape.dim(0)));
        store->shifts_.resize(store->shifts_.size() + layer.on_host.size());
        total_bytes += layer.expert_bytes * shape.dim(0);
    }
    HEARTH_CHECK(store->take_device_memory());
    HEARTH_CHECK(store->pin(total_bytes));
    for (Layer& layer : store->layers_) {
        store->fill(tensors, layer);
        for (std::size_t expert = 0; expert < layer.on_host.size(); ++expert) {
            store->set_place(layer, static_cast<int>(expert), layer.on_host[expert]);
        }
    }
    return store;
}

ExpertStore::~ExpertStore() {
    // Copies may be under way between the memory that goes now.
    if (copies_ != nullptr) static_cast<void>(cudaStreamSynchronize(copies_->get()));
}

/// Gives each expert its place, slab after slab.
Result<void> ExpertStore::pin(std::int64_t total_bytes) {
    // Pinned memory cannot be swapped: the system would end programs to make room.
    const auto memory = compute::host_memory();
    if (memory && total_bytes > memory->free_bytes) {
        return fail(ErrorCode::out_of_memory,
                    "the experts that do not fit the device take " + std::to_string(total_bytes) +
                        " bytes of the machine's memory, and " +
                        std::to_string(memory->free_bytes) +
                        " are free; close other programs, or take a smaller quantisation",
                    "cuda");
    }
    std::int64_t free_bytes = 0;
    std::byte* place = nullptr;
    std::int64_t left_bytes = total_bytes;
    for (Layer& layer : layers_) {
        for (std::byte*& expert : layer.on_host) {
            if (free_bytes < layer.expert_bytes) {
                free_bytes = std::max(std::min(kSlabBytes, left_bytes), layer.expert_bytes);
                HEARTH_TRY(PinnedBuffer slab,
                           PinnedBuffer::make(free_bytes,
                                              "a part of the model's experts, " +
                                                  std::to_string(total_bytes) + " bytes in all"));
                place = slab.data();
                slabs_.push_back(std::move(slab));
            }
            expert = place;
            place += layer.expert_bytes;
            free_bytes -= layer.expert_bytes;
            left_bytes -= layer.expert_bytes;
        }
    }
    return {};
}

Result<void> ExpertStore::take_device_memory() {
    std::int64_t bytes = 0;
    for (const Layer& layer : layers_) {
        bytes += layer.slots.slot_count() * layer.expert_bytes;
    }
    HEARTH_TRY(slot_memory_, DeviceBuffer::make(bytes, "the experts used last"));
    std::byte* place = slot_memory_.data();
    for (Layer& layer : layers_) {
        layer.on_device = place;
        place += layer.slots.slot_count() * layer.expert_bytes;
    }
    HEARTH_TRY(tables_, DeviceBuffer::make(step_bytes(), "the places of experts"));
    HEARTH_TRY(copies_, Stream::make());
    HEARTH_TRY(border_, Event::make());
    HEARTH_TRY(arrived_, Event::make());
    return {};
}

/// Repacks a layer's experts to their places on the host.
void ExpertStore::fill(std::span<const Tensor> tensors, Layer& layer) const {
    const auto count = static_cast<std::int64_t>(layer.on_host.size());
    std::int64_t offset = 0;
    for (const compute::WeightId id : layer.weights) {
        const Tensor& tensor = tensor_of(tensors, id);
        const std::int64_t rows = tensor.shape.dim(1);
        Matrix matrix = matrix_at(tensor, rows, layer.on_host.front() + offset);
        matrix.experts = {.shifts = device_table() + layer.table_begin,
                          .used = device_used() + layer.table_begin};
        layer.matrices.push_back(matrix);
        in_parts(count,
                 static_cast<std::int64_t>(tensor.bytes.size()),
                 [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t expert = begin; expert < end; ++expert) {
                         std::byte* base = layer.on_host[static_cast<std::size_t>(expert)] + offset;
                         repack_rows({tensor, expert * rows, rows}, 0, rows, base);
                     }
                 });
        offset += plane_bytes(tensor, rows);
    }
}

std::optional<Matrix> ExpertStore::matrix(compute::WeightId id) const {
    for (const Layer& layer : layers_) {
        for (std::size_t i = 0; i < layer.matrices.size(); ++i) {
            if (layer.weights[i] == id) return layer.matrices[i];
        }
    }
    return std::nullopt;
}

std::int64_t ExpertStore::step_bytes() const {
    return static_cast<std::int64_t>(shifts_.size() * (sizeof(std::int64_t) + 1));
}

/// Host and device share one address space.
std::int64_t ExpertStore::shift_of(const Layer& layer, const std::byte* place) {
    return reinterpret_cast<std::intptr_t>(place) -
           reinterpret_cast<std::intptr_t>(layer.on_host.front());
}

void ExpertStore::set_place(const Layer& layer, int expert, const std::byte* place) {
    shifts_[layer.table_begin + static_cast<std::size_t>(expert)] = shift_of(layer, place);
    is_changed_ = true;
}

Result<void> ExpertStore::begin_step(std::byte* memory, cudaStream_t stream) {
    HEARTH_CHECK(end_fetches());
    if (on_the_way_.empty()) choose_fetches();
    const std::size_t bytes = shifts_.size() * sizeof(std::int64_t);
    std::memcpy(memory, shifts_.data(), bytes);
    if (is_changed_) {
        HEARTH_CUDA(cudaMemcpyAsync(device_table(), memory, bytes, cudaMemcpyHostToDevice, stream));
        is_changed_ = false;
    }
    HEARTH_CUDA(cudaMemsetAsync(device_used(), 0, shifts_.size(), stream));
    if (!is_copying_ && !on_the_way_.empty()) HEARTH_CHECK(start_copies(stream));
    return {};
}

/// Where the fetches have arrived, the next step finds them.
Result<void> ExpertStore::end_fetches() {
    if (!is_copying_) return {};
    const cudaError_t state = cudaEventQuery(arrived_.get());
    if (state == cudaErrorNotReady) {
        static_cast<void>(cudaGetLastError());
        return {};
    }
    HEARTH_CHECK(check(state, "cudaEventQuery", __FILE__, __LINE__));
    for (const Fetch& fetch : on_the_way_) {
        Layer& layer = layers_[fetch.layer];
        layer.slots.end_fetch(fetch.what);
        set_place(layer, fetch.what.expert, layer.on_device + fetch.what.slot * layer.expert_bytes);
    }
    on_the_way_.clear();
    is_copying_ = false;
    return {};
}

/// One fetch of each layer in turn, as long as there are any. Whoever makes way is read from the
/// host from the next step on.
void ExpertStore::choose_fetches() {
    for (std::size_t asked = 0; asked < layers_.size() && on_the_way_.size() < kFetchesMax;) {
        Layer& layer = layers_[next_layer_];
        const auto fetch = layer.slots.begin_fetch();
        asked = fetch ? 0 : asked + 1;
        if (fetch) {
            on_the_way_.push_back({next_layer_, *fetch});
            if (fetch->evicted != ExpertSlots::kNobody) {
                set_place(
                    layer, fetch->evicted, layer.on_host[static_cast<std::size_t>(fetch->evicted)]);
            }
        }
        next_layer_ = (next_layer_ + 1) % layers_.size();
    }
}

/// The copies wait for the steps launched so far, which may read what they overwrite, and for the
/// change of the table; the step that is being launched reads neither.
Result<void> ExpertStore::start_copies(cudaStream_t stream) {
    HEARTH_CUDA(cudaEventRecord(border_.get(), stream));
    HEARTH_CUDA(cudaStreamWaitEvent(copies_->get(), border_.get(), 0));
    for (const Fetch& fetch : on_the_way_) {
        const Layer& layer = layers_[fetch.layer];
        HEARTH_CUDA(cudaMemcpyAsync(layer.on_device + fetch.what.slot * layer.expert_bytes,
                                    layer.on_host[static_cast<std::size_t>(fetch.what.expert)],
                                    static_cast<std::size_t>(layer.expert_bytes),
                                    cudaMemcpyHostToDevice,
                                    copies_->get()));
    }
    HEARTH_CUDA(cudaEventRecord(arrived_.get(), copies_->get()));
    is_copying_ = true;
    return {};
}

Result<void> ExpertStore::end_step(std::byte* memory, cudaStream_t stream) {
    HEARTH_CUDA(cudaMemcpyAsync(memory + shifts_.size() * sizeof(std::int64_t),
                                device_used(),
                                shifts_.size(),
                                cudaMemcpyDeviceToHost,
                                stream));
    return {};
}

void ExpertStore::note_step(const std::byte* memory) {
    const auto* shifts = reinterpret_cast<const std::int64_t*>(memory);
    const auto* used = reinterpret_cast<const std::uint8_t*>(shifts + shifts_.size());
    for (Layer& layer : layers_) {
        const std::size_t begin = layer.table_begin;
        const std::size_t count = layer.on_host.size();
        layer.slots.note({used + begin, count});
        for (std::size_t expert = 0; expert < count; ++expert) {
            if (used[begin + expert] == 0) continue;
            const bool was_on_host =
                shifts[begin + expert] == shift_of(layer, layer.on_host[expert]);
            uses_.on_device += was_on_host ? 0 : 1;
            ++uses_.in_all;
        }
    }
}

}  // namespace hearth::cuda
