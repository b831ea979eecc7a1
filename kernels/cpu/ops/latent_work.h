// How the tokens of a step are shared out for latent attention, and, where a group's stretches of
// positions are units of their own, what they leave for each other. All layers of a program use
// one, in turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/cpu/ops/attention.h"
#include "kernels/cpu/ops/latent_rows.h"

namespace hearth::cpu {

class LatentWork {
  public:
    struct Shape {
        std::int64_t heads, key_dim, value_dim;
    };
    /// Heads of a tile that look at the cache together. Row h * tile.count + t is head (head + h)
    /// of the tile's token t.
    struct Group {
        TokenTile tile;
        std::int64_t head, heads;  ///< the first, and how many
        std::int64_t index;        ///< of the step's groups
    };
    /// A stretch of positions for a group.
    struct Part {
        Group group;
        std::int32_t stretch, count;  ///< which of how many
        std::int64_t index;           ///< of the step's parts; those of a group follow each other
    };

    /// How far a group is.   Thread: any.
    class Progress {
      public:
        void reset();
        /// A head that nobody has taken; beyond the group's there is none left.
        std::int64_t take_head() { return taken_.fetch_add(1, std::memory_order_relaxed); }
        /// How many heads have been absorbed, this one included.
        std::int64_t count_head() { return absorbed_.fetch_add(1, std::memory_order_acq_rel) + 1; }
        /// Whoever absorbed the last head has rounded the queries of all.
        void mark_rounded() { rounded_.store(true, std::memory_order_release); }
        void await_rounded() const;
        /// How many parts have been mixed, this one included.
        std::int64_t count_part() { return mixed_.fetch_add(1, std::memory_order_acq_rel) + 1; }

      private:
        std::atomic<std::int64_t> taken_{0}, absorbed_{0}, mixed_{0};
        std::atomic<bool> rounded_{false};
    };

    explicit LatentWork(const Shape& shape) : shape_(shape) {}

    /// Before the units of a step, on one thread.
    void cut(const Step& step);

    /// Whether parts are the units, not groups: where groups are too few for the threads.
    [[nodiscard]] bool is_split() const { return is_split_; }
    [[nodiscard]] std::int64_t group_count() const;
    [[nodiscard]] Group group(std::int64_t index) const;

    // Of a split step.
    [[nodiscard]] std::int64_t part_count() const { return first_parts_.back(); }
    [[nodiscard]] Part part(std::int64_t index) const;
    [[nodiscard]] LatentQueries queries(const Group& group);
    [[nodiscard]] MixState state(std::int64_t part);
    [[nodiscard]] Progress& progress(const Group& group) {
        return progress_[static_cast<std::size_t>(group.index)];
    }

  private:
    void cut_heads(const Step& step);
    void make_room(const Step& step);

    Shape shape_;
    std::vector<TokenTile> tiles_;
    std::int64_t group_heads_ = 1;
    std::int64_t groups_per_tile_ = 1;
    bool is_split_ = false;
    std::vector<std::int64_t> first_parts_{0};  ///< by group, and their end

    // Of split steps; memory that grows.
    std::int64_t rows_max_ = 0;  ///< of a group
    std::vector<float> queries_, states_;
    std::vector<std::int32_t> positions_;
    std::deque<Progress> progress_;
};

}  // namespace hearth::cpu
