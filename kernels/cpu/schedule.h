// From operations in the order of the Plan to stages with few barriers between them. A stage is a
// chain of token operations, run token by token, and then a phase of parallel operations whose
// units are shared out. An operation moves forward past others with which it shares no written
// columns, so that projections of one input, or a router and a shared expert, end up in one phase.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/op.h"

namespace hearth::cpu {

/// One of the two.
struct Node {
    std::unique_ptr<TokenOp> token_op = nullptr;
    std::unique_ptr<ParallelOp> parallel_op = nullptr;

    [[nodiscard]] Op& op() const {
        if (token_op != nullptr) return *token_op;
        return *parallel_op;
    }
};

/// Operations over the same rows that are cut in the same way: unit u of the first, then unit u of
/// the second.
using Group = std::vector<ParallelOp*>;

struct Stage {
    std::vector<TokenOp*> chain;
    Rows chain_rows = Rows::wanted;  ///< all, where one of the chain has all
    std::vector<Group> phase;
};

/// Finds the operations that matter to the logits alone, and gives them the rows that are wanted.
/// Of a prompt those are the queries, attention and feed-forward of the last layer, whose rows
/// nobody reads but for the last one.
void set_wanted_rows(std::span<const Node> nodes);

std::vector<Stage> make_stages(std::span<const Node> nodes);

/// Where each buffer begins in one block of memory in which buffers that are never in use at the
/// same time share bytes.
struct ArenaLayout {
    std::vector<std::int64_t> offsets;
    std::int64_t bytes = 0;
};
/// `buffer_bytes` 0: a place without memory.
ArenaLayout lay_out(std::span<const Stage> stages, std::span<const std::int64_t> buffer_bytes);

}  // namespace hearth::cpu
