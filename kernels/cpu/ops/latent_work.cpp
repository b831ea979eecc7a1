#include "kernels/cpu/ops/latent_work.h"

#include <algorithm>
#include <thread>

namespace hearth::cpu {
namespace {

/// Groups of a thread from which on nobody waits long for the last one.
constexpr std::int64_t kGroupsPerThread = 4;

std::int64_t to_lanes(std::int64_t rows) {
    return (rows + kMixLanes - 1) / kMixLanes * kMixLanes;
}

template <typename T>
void grow(std::vector<T>& memory, std::int64_t count) {
    const auto size = static_cast<std::size_t>(count);
    if (memory.size() < size) memory.resize(size);
}

}  // namespace

void LatentWork::Progress::reset() {
    taken_.store(0, std::memory_order_relaxed);
    absorbed_.store(0, std::memory_order_relaxed);
    rounded_.store(false, std::memory_order_relaxed);
    mixed_.store(0, std::memory_order_relaxed);
}

void LatentWork::Progress::await_rounded() const {
    while (!rounded_.load(std::memory_order_acquire)) {
        std::this_thread::yield();
    }
}

void LatentWork::cut(const Step& step) {
    cut_tiles(step, kAttendRows, tiles_);
    cut_heads(step);
    first_parts_.assign(1, 0);
    for (std::int64_t i = 0; i < group_count(); ++i) {
        const TokenTile tile = group(i).tile;
        const std::int32_t last = step.position(tile.first + tile.count - 1);
        first_parts_.push_back(first_parts_.back() + (is_split_ ? stretch_count(last) : 0));
    }
    if (is_split_) make_room(step);
}

void LatentWork::cut_heads(const Step& step) {
    std::int64_t longest = 1;
    for (const TokenTile& tile : tiles_) {
        longest = std::max(longest, tile.count);
    }
    const auto tiles = static_cast<std::int64_t>(tiles_.size());
    const std::int64_t heads_max = std::clamp<std::int64_t>(kAttendRows / longest, 1, shape_.heads);
    const std::int64_t groups = tiles * ((shape_.heads + heads_max - 1) / heads_max);
    bool is_deep = false;
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
        is_deep = is_deep || step.position(t) >= kStretchTokens;
    }
    is_split_ = is_deep && step.thread_count > 1 && groups < kGroupsPerThread * step.thread_count;
    // Not split, as many heads together as leaves every thread a group.
    const std::int64_t fair = is_split_ ? heads_max : shape_.heads * tiles / step.thread_count;
    group_heads_ = std::clamp<std::int64_t>(fair, 1, heads_max);
    groups_per_tile_ = (shape_.heads + group_heads_ - 1) / group_heads_;
    rows_max_ = longest * group_heads_;
}

void LatentWork::make_room(const Step& step) {
    grow(queries_, group_count() * rounded_query_rows(shape_.key_dim) * to_lanes(rows_max_));
    grow(states_, part_count() * MixState::floats(rows_max_, shape_.value_dim));
    grow(positions_, group_count() * rows_max_);
    while (static_cast<std::int64_t>(progress_.size()) < group_count()) {
        progress_.emplace_back();
    }
    for (std::int64_t i = 0; i < group_count(); ++i) {
        const Group g = group(i);
        progress(g).reset();
        std::int32_t* positions = positions_.data() + i * rows_max_;
        for (std::int64_t row = 0; row < g.heads * g.tile.count; ++row) {
            positions[row] = step.position(g.tile.first + row % g.tile.count);
        }
    }
}

std::int64_t LatentWork::group_count() const {
    return static_cast<std::int64_t>(tiles_.size()) * groups_per_tile_;
}

LatentWork::Group LatentWork::group(std::int64_t index) const {
    const std::int64_t head = index % groups_per_tile_ * group_heads_;
    return {tiles_[static_cast<std::size_t>(index / groups_per_tile_)],
            head,
            std::min(group_heads_, shape_.heads - head),
            index};
}

LatentWork::Part LatentWork::part(std::int64_t index) const {
    const auto after = std::upper_bound(first_parts_.begin(), first_parts_.end(), index);
    const std::int64_t first = *(after - 1);
    return {group(after - first_parts_.begin() - 1),
            static_cast<std::int32_t>(index - first),
            static_cast<std::int32_t>(*after - first),
            index};
}

LatentQueries LatentWork::queries(const Group& group) {
    const std::int64_t stride = to_lanes(rows_max_);
    return {queries_.data() + group.index * rounded_query_rows(shape_.key_dim) * stride,
            stride,
            group.heads * group.tile.count,
            group.tile.first,
            positions_.data() + group.index * rows_max_};
}

MixState LatentWork::state(std::int64_t part) {
    return {states_.data() + part * MixState::floats(rows_max_, shape_.value_dim),
            shape_.value_dim};
}

}  // namespace hearth::cpu
