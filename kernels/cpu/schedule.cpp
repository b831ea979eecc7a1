#include "kernels/cpu/schedule.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace hearth::cpu {
namespace {

/// Operations that may be overtaken: more than a layer has.
constexpr std::size_t kBlockedMax = 48;

bool conflict(const Access& a, const Access& b) {
    return (a.is_write || b.is_write) && a.place.overlaps(b.place);
}

bool conflict(const Op& a, const Op& b) {
    return std::ranges::any_of(a.accesses(), [&](const Access& x) {
        return std::ranges::any_of(b.accesses(), [&](const Access& y) { return conflict(x, y); });
    });
}

bool conflicts_with_any(const Op& op, std::span<const Op* const> others) {
    return std::ranges::any_of(others, [&](const Op* other) { return conflict(op, *other); });
}

/// Whether unit u of `second` may follow unit u of `first` at once: all they share are the columns
/// that both write chunk by chunk.
bool may_follow_by_chunk(const ParallelOp& first, const ParallelOp& second) {
    if (first.rows() != second.rows()) return false;
    const auto out = first.chunked_out();
    if (!out.has_value() || out != second.chunked_out()) return false;
    for (const Access& a : first.accesses()) {
        for (const Access& b : second.accesses()) {
            if (conflict(a, b) && !(a.place == *out && b.place == *out)) return false;
        }
    }
    return true;
}

/// Adds the operation to the phase if it fits: beside all groups, or behind one.
bool try_add(std::vector<Group>& phase, ParallelOp& op) {
    Group* behind = nullptr;
    for (Group& group : phase) {
        for (const ParallelOp* other : group) {
            if (!conflict(*other, op)) continue;
            const bool is_only = behind == nullptr || behind == &group;
            if (!is_only || !may_follow_by_chunk(*other, op)) return false;
            behind = &group;
        }
    }
    if (behind == nullptr) behind = &phase.emplace_back();
    behind->push_back(&op);
    return true;
}

class Scheduler {
  public:
    explicit Scheduler(std::span<const Node> nodes) {
        for (const Node& node : nodes) {
            pending_.push_back(&node);
        }
    }

    std::vector<Stage> run() {
        std::vector<Stage> stages;
        while (!pending_.empty()) {
            Stage& stage = stages.emplace_back();
            sweep([&](const Node& node) {
                if (node.token_op == nullptr) return false;
                stage.chain.push_back(node.token_op.get());
                if (node.op().rows() == Rows::all) stage.chain_rows = Rows::all;
                return true;
            });
            sweep([&](const Node& node) {
                return node.parallel_op != nullptr && try_add(stage.phase, *node.parallel_op);
            });
        }
        return stages;
    }

  private:
    /// Offers each pending node that nothing left behind stands in the way of.
    template <typename Take>
    void sweep(Take take) {
        std::vector<const Op*> blocked;
        std::vector<const Node*> left;
        std::size_t i = 0;
        for (; i < pending_.size() && blocked.size() < kBlockedMax; ++i) {
            const Node* node = pending_[i];
            if (!conflicts_with_any(node->op(), blocked) && take(*node)) continue;
            blocked.push_back(&node->op());
            left.push_back(node);
        }
        left.insert(left.end(), pending_.begin() + static_cast<std::ptrdiff_t>(i), pending_.end());
        pending_ = std::move(left);
    }

    std::vector<const Node*> pending_;
};

struct Lifetime {
    std::size_t first = std::numeric_limits<std::size_t>::max();
    std::size_t last = 0;

    [[nodiscard]] bool overlaps(const Lifetime& other) const {
        return first <= other.last && other.first <= last;
    }
};

std::vector<Lifetime> lifetimes(std::span<const Stage> stages, std::size_t buffer_count) {
    std::vector<Lifetime> lives(buffer_count);
    const auto touch = [&](const Op& op, std::size_t stage) {
        for (const Access& access : op.accesses()) {
            Lifetime& life = lives[static_cast<std::size_t>(access.place.buffer)];
            life.first = std::min(life.first, stage);
            life.last = std::max(life.last, stage);
        }
    };
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
        for (const TokenOp* op : stages[stage].chain) {
            touch(*op, stage);
        }
        for (const Group& group : stages[stage].phase) {
            for (const ParallelOp* op : group) {
                touch(*op, stage);
            }
        }
    }
    return lives;
}

}  // namespace

void set_wanted_rows(std::span<const Node> nodes) {
    std::vector<Place> read_whole;  // by what comes later
    for (std::size_t i = nodes.size(); i-- > 0;) {
        Op& op = nodes[i].op();
        const bool is_read = std::ranges::any_of(op.accesses(), [&](const Access& access) {
            return access.is_write && std::ranges::any_of(read_whole, [&](const Place& place) {
                       return place.overlaps(access.place);
                   });
        });
        op.set_rows(is_read || op.outlives_step() ? Rows::all : Rows::wanted);
        if (op.rows() == Rows::wanted) continue;
        for (const Access& access : op.accesses()) {
            if (!access.is_write) read_whole.push_back(access.place);
        }
    }
}

std::vector<Stage> make_stages(std::span<const Node> nodes) {
    return Scheduler(nodes).run();
}

ArenaLayout lay_out(std::span<const Stage> stages, std::span<const std::int64_t> buffer_bytes) {
    constexpr std::int64_t kAlignment = 64;
    const std::vector<Lifetime> lives = lifetimes(stages, buffer_bytes.size());
    // Large ones first; each goes to the lowest free place among those that live with it.
    std::vector<std::size_t> order(buffer_bytes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return buffer_bytes[i]; });
    ArenaLayout layout;
    layout.offsets.resize(buffer_bytes.size(), 0);
    std::vector<std::size_t> placed;  // by offset
    for (const std::size_t buffer : order) {
        std::int64_t offset = 0;
        for (const std::size_t other : placed) {
            if (!lives[buffer].overlaps(lives[other])) continue;
            if (offset + buffer_bytes[buffer] <= layout.offsets[other]) break;
            const std::int64_t end = layout.offsets[other] + buffer_bytes[other];
            offset = std::max(offset, (end + kAlignment - 1) / kAlignment * kAlignment);
        }
        layout.offsets[buffer] = offset;
        layout.bytes = std::max(layout.bytes, offset + buffer_bytes[buffer]);
        const auto at = std::ranges::upper_bound(
            placed, offset, {}, [&](std::size_t i) { return layout.offsets[i]; });
        placed.insert(at, buffer);
    }
    return layout;
}

}  // namespace hearth::cpu
