#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_walk.cuh"
#include "kernels/cuda/expand.h"

namespace hearth::cuda {
namespace {

/// Expanded positions [first, first + count).
struct Stretch {
    const std::uint16_t* rows;  ///< as in ExpandArgs
    int first, count;           ///< first: a multiple of kSplitTokens
    float2* states;             ///< as in ExpandArgs
};

/// A block per (tile of neighbouring tokens, head) walks a stretch's splits. Where it begins behind
/// the first position it goes on with what the stretch before has left in `args.out` and `states`,
/// and where it ends before the tile's last one it leaves as much. Bound by the tensor cores.
template <typename W>
__global__ void __launch_bounds__(W::kThreads, W::kWalkBlocks)
    attend_stretch_kernel(AttentionArgs args,
                          StepTables step,
                          Tiles tiles,
                          Staging staging,
                          int staged_bytes,
                          Stretch stretch) {
    wait_for_predecessor();
    auto b = make_tile_block<W>(args, step, tiles, static_cast<std::size_t>(staged_bytes));
    const int first = stretch.first / kSplitTokens;
    const int splits = split_count(b.length);
    const int end = smaller(splits, first + split_count(stretch.count));
    if (b.rows == 0 || first >= end) return;
    b.cache = stretch.rows;
    b.table = nullptr;
    b.block_first = stretch.first / compute::kBlockTokens;
    const int row = static_cast<int>(threadIdx.x);
    const std::int64_t state =
        row < b.rows ? std::int64_t{b.token_of(row)} * args.heads + b.head_of(row) : 0;
    float values[W::kPairs][2][4] = {};
    if (first > 0) {
        // The thread that has set the row's state sets it anew.
        if (row < b.rows) b.states[row] = stretch.states[state];
        load_values(args, b, values);
    }
    walk_splits(args, staging, b, first, end, values);
    const bool is_last = end == splits;
    store_values(args, b, values, is_last);
    if (!is_last && row < b.rows) stretch.states[state] = b.states[row];
}

template <int kTiles>
Result<void> launch_stretch(const AttentionArgs& args,
                            const StepTables& step,
                            int tokens,
                            const Stretch& stretch,
                            Queue queue) {
    using W = Middle<kTiles>;
    return launch_tiles<W>(
        "attend_stretch", attend_stretch_kernel<W>, args, step, tokens, 0, queue, stretch);
}

static_assert(kExpandedDimMax == kMiddleDim);

}  // namespace

Result<void> attend_expanded(const ExpandedAttention& args,
                             const StepTables& step,
                             const ExpandedRun& run,
                             Queue queue) {
    const ExpandArgs& expanded = args.expand;
    const int key_dim = expanded.nope_dim + expanded.rope_dim;
    AttentionArgs attention;
    attention.query = rows_from(args.query, run.first);
    attention.query_head_stride = attention.query_dim = key_dim;
    attention.cache = {0, expanded.heads * key_dim, expanded.heads * expanded.value_dim};
    attention.heads = attention.kv_heads = expanded.heads;
    attention.value_dim = expanded.value_dim;
    attention.scale = args.scale;
    attention.out = rows_from(args.out, run.first);
    attention.shared_bytes_max = args.shared_bytes_max;
    attention.multiprocessors = args.multiprocessors;
    HEARTH_CHECK(name_device(attention));
    const StepTables of_run = tables_from(step, run.first);
    for (int first = 0; first < run.length; first += expanded.positions_max) {
        const int count = std::min(expanded.positions_max, run.length - first);
        HEARTH_CHECK(expand(expanded, of_run, 0, first, count, queue));
        const Stretch stretch{expanded.rows, first, count, expanded.states};
        HEARTH_CHECK(has_many_tiles(attention, run.tokens)
                         ? launch_stretch<kWalkTiles>(attention, of_run, run.tokens, stretch, queue)
                         : launch_stretch<1>(attention, of_run, run.tokens, stretch, queue));
    }
    return {};
}

}  // namespace hearth::cuda
