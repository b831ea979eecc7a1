// Dot products for many tokens. Sixteen rows of weights at a time are laid out anew in scratch, as
// small integers whose lanes are rows, and multiplied with all tokens of the call: the sums need no
// shuffles, a scale applies to all lanes, and the work of unpacking is shared by the tokens.
// Weights stay in memory as the file has them. The bits are those of the row by row code in
// dot_quantised.h. Included by kernels_avx*.cpp alone, behind their vectors of sixteen lanes;
// internal linkage.
//
// Ints16, Floats16 and the sums of products over them come with the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd/panel_rows.h"

namespace hearth::cpu {
namespace {

// ---- types of 32-blocks

/// `kAdded`: what a panel's quants are larger by than the type's.
template <typename Type, int kAdded = Type::kIsSigned ? kSignedOffset : 0>
struct Panel32 {
    using Block = typename Type::Block;
    static constexpr int kBlocks = kBlocksPerGroup;
    static constexpr int kOffset = Type::kOffset + kAdded;

    static void fill(const RowBlocks<Block>& rows, int blocks, int first_row, Panel& panel) {
        store_blocks<Type, kAdded>(rows, blocks, first_row, panel);
    }

    /// What a token's row has gathered: eight sums per row of weights, one per place in the group.
    using Totals = float[kBlocksPerGroup][kPanelRows];

    /// The first group of a row leaves its sums, the others add theirs.
    template <int kCount, bool kIsFirst>
    static void add_group(const Panel& panel,
                          int blocks,
                          const void* const* activations,
                          std::int64_t g,
                          Totals* totals) {
        for (int b = 0; b < blocks; ++b) {
            const std::int8_t* x[kCount];
            Ints16 sums[kCount];
            for (int t = 0; t < kCount; ++t) {
                const Q8Group& group = static_cast<const Q8Group*>(activations[t])[g];
                x[t] = group.quants + b * kQ8Elements;
                sums[t] = broadcast_ints(0);
                if constexpr (kOffset != 0) {
                    sums[t] = sub(sums[t], times<kOffset>(broadcast_ints_at(group.sums + b)));
                }
            }
            add_run<Type::kQuantMax, kCount>(panel.quants[b], x, sums);
            const Floats16 d = load_floats(panel.d[b]);
            for (int t = 0; t < kCount; ++t) {
                const Q8Group& group = static_cast<const Q8Group*>(activations[t])[g];
                const Floats16 scale = broadcast_floats(group.scales[b]);
                Floats16 total = kIsFirst ? broadcast_floats(0.0F) : load_floats(totals[t][b]);
                if constexpr (Type::kHasMinimum) {
                    const Floats16 m = load_floats(panel.m[b]);
                    const auto sum = static_cast<float>(group.sums[b]);
                    total = fma(mul(m, scale), broadcast_floats(sum), total);
                }
                store_floats(totals[t][b], fma(mul(d, scale), to_floats(sums[t]), total));
            }
        }
        if constexpr (kIsFirst) {
            const int places = places_of(blocks);
            for (int t = 0; t < kCount; ++t) {
                for (int b = blocks; b < places; ++b) {
                    store_floats(totals[t][b], broadcast_floats(0.0F));
                }
            }
        }
    }

    /// `blocks`: of the first group. The places behind places_of(blocks) have gathered nothing, and
    /// what 0 would be added to is not -0.
    static void finish(const Totals& totals, int blocks, float* out) {
        const auto lane = [&](int b) { return load_floats(totals[b]); };
        Floats16 even = lane(0);
        Floats16 odd = lane(1);
        const int places = places_of(blocks);
        if (places == kBlocksPerGroup) {
            even = add(add(even, lane(4)), add(lane(2), lane(6)));
            odd = add(add(odd, lane(5)), add(lane(3), lane(7)));
        } else if (places == kBlocksPerGroup / 2) {
            even = add(even, lane(2));
            odd = add(odd, lane(3));
        }
        store_floats_unaligned(out, add(even, odd));
    }

  private:
    /// Of a row whose first group has so many blocks.
    static int places_of(int blocks) {
        if (blocks > kBlocksPerGroup / 2) return kBlocksPerGroup;
        return blocks > kBlocksPerGroup / 4 ? kBlocksPerGroup / 2 : kBlocksPerGroup / 4;
    }
};

// ---- the K types

/// sums[t] += offsets times the token's sums, in pairs.
template <int kPairs, int kCount>
inline void add_offsets(const Panel& panel, const std::int16_t* const* sums_of_x, Ints16* sums) {
    for (int p = 0; p < kPairs; ++p) {
        const Ints16 offsets = load_ints(panel.offsets[p]);
        for (int t = 0; t < kCount; ++t) {
            sums[t] = add_pairs(sums[t], offsets, broadcast_pair(sums_of_x[t] + 2 * p));
        }
    }
}

constexpr int quant_max(const BlockQ4K*) {
    return 15;
}
constexpr int quant_max(const BlockQ5K*) {
    return 31;
}
constexpr int quant_max(const BlockQ6K*) {
    return 63;
}

template <typename Type>
struct PanelK {
    using Block = Type;
    static constexpr int kBlocks = 1;
    static constexpr int kQuantMax = quant_max(static_cast<const Block*>(nullptr));
    static constexpr bool kHasMinimum = kQuantMax < 63;  ///< else an offset of 32
    static constexpr int kScaleSteps = kHasMinimum ? 8 : 4;

    static void fill(const RowBlocks<Block>& rows, int, int first_row, Panel& panel) {
        store_quants(rows, first_row, panel);
        store_k_factors(rows, first_row, panel);
    }

    /// What a token's row has gathered: of weights, and of minima.
    using Totals = float[2][kPanelRows];

    template <int kCount, bool kIsFirst>
    static void add_group(
        const Panel& panel, int, const void* const* activations, std::int64_t g, Totals* totals) {
        const Q8kGroup* groups[kCount];
        Ints16 sums[kCount];
        for (int t = 0; t < kCount; ++t) {
            groups[t] = static_cast<const Q8kGroup*>(activations[t]) + g;
            sums[t] = broadcast_ints(0);
        }
        add_runs<kCount>(panel, groups, sums);
        Ints16 offsets[kCount];
        const std::int16_t* sums_of_x[kCount];
        for (int t = 0; t < kCount; ++t) {
            offsets[t] = broadcast_ints(0);
            sums_of_x[t] = kHasMinimum ? groups[t]->sums_32 : groups[t]->sums;
        }
        add_offsets<kHasMinimum ? 4 : 8, kCount>(panel, sums_of_x, offsets);
        for (int t = 0; t < kCount; ++t) {
            const Floats16 scale = broadcast_floats(groups[t]->scale);
            if constexpr (kHasMinimum) {
                add_product<kIsFirst>(
                    offsets[t], mul(load_floats(panel.d[1]), scale), totals[t][1]);
            } else {
                sums[t] = sub(sums[t], times<32>(offsets[t]));
            }
            add_product<kIsFirst>(sums[t], mul(load_floats(panel.d[0]), scale), totals[t][0]);
        }
    }

    static void finish(const Totals& totals, int, float* out) {
        const Floats16 sum = load_floats(totals[0]);
        store_floats_unaligned(out, kHasMinimum ? sub(sum, load_floats(totals[1])) : sum);
    }

    template <bool kIsFirst = false>
    static void add_product(Ints16 sum, Floats16 factor, float* total) {
        const Floats16 before = kIsFirst ? broadcast_floats(0.0F) : load_floats(total);
        store_floats(total, fma(to_floats(sum), factor, before));
    }

  private:
    /// sums[t] += scale * (w . x[t]) of all runs.
    template <int kCount>
    static void add_runs(const Panel& panel, const Q8kGroup* const* groups, Ints16* sums) {
        const std::int8_t* columns[kCount];
        const auto start_at = [&](int run) {
            for (int t = 0; t < kCount; ++t) {
                columns[t] = groups[t]->quants + run * kQ8Elements;
            }
        };
        if constexpr (kScalesPairs && kQuantMax == 15) {
            int fits = 1;
            for (int t = 0; t < kCount; ++t) {
                fits &= static_cast<int>(groups[t]->fits_16_bits);
            }
            if (fits != 0) {
                for (int run = 0; run < kRunsPerGroup; run += 2) {
                    start_at(run);
                    add_scaled_pair<kCount>(panel.quants + run, panel.scales + run, columns, sums);
                }
                return;
            }
        }
        for (int run = 0; run < kRunsPerGroup; ++run) {
            start_at(run);
            add_scaled_run<kQuantMax, kScaleSteps, kCount>(
                panel.quants[run], panel.scales + run * kStepsPerRun / kScaleSteps, columns, sums);
        }
    }
};

// ---- the walk

constexpr std::int64_t groups_of(const DotCall& call) {
    return (call.dim + kGroupElements - 1) / kGroupElements;
}

/// Blocks of a row in a group: the last may have fewer.
template <typename Type>
constexpr int blocks_in(const DotCall& call, std::int64_t group) {
    constexpr int kElements = kGroupElements / Type::kBlocks;
    const std::int64_t rest = call.dim / kElements - group * Type::kBlocks;
    return static_cast<int>(rest < Type::kBlocks ? rest : Type::kBlocks);
}

/// Eight rows from `first_row` on, each from block `block` on.
template <typename Block>
inline RowBlocks<Block> row_blocks(const DotCall& call,
                                   std::int64_t first_row,
                                   std::int64_t block) {
    return {reinterpret_cast<const Block*>(row_of(call, first_row)) + block, call.row_bytes};
}

/// Lays out group `g` of sixteen rows of weights.
template <typename Type>
void fill_panel(const DotCall& call, std::int64_t first_row, std::int64_t g, Panel& panel) {
    for (int half = 0; half < kPanelRows; half += kHalfRows) {
        Type::fill(row_blocks<typename Type::Block>(call, first_row + half, g * Type::kBlocks),
                   blocks_in<Type>(call, g),
                   half,
                   panel);
    }
}

/// All of them, (groups) panels.
template <typename Type>
void fill_panels(const DotCall& call, std::int64_t first_row, Panel* panels) {
    for (std::int64_t g = 0; g < groups_of(call); ++g) {
        fill_panel<Type>(call, first_row, g, panels[g]);
    }
}

/// The `count` rows from `row` on, or those that follow the call's, come from memory while those
/// before are multiplied: a share of their bytes at a time.
[[gnu::always_inline]] inline void ask_for_rows(const DotCall& call,
                                                std::int64_t row,
                                                std::int64_t count,
                                                std::int64_t share,
                                                std::int64_t shares) {
    const std::int64_t bytes = (count * call.row_bytes + shares - 1) / shares;
    const void* rows = row >= call.rows && call.next != nullptr ? call.next : row_of(call, row);
    ask_ahead(rows, bytes, share * bytes);
}

/// Tokens whose totals stay in the first-level cache while a panel is multiplied with them.
constexpr int kPanelTokens = 16;

template <typename Type>
struct PanelDot {
    using Totals = typename Type::Totals;

    const DotCall& call;
    Panel* panels;

    explicit PanelDot(const DotCall& dot_call)
        : call(dot_call),
          panels(static_cast<Panel*>(dot_call.panels)) {}

    void run() const {
        for (std::int64_t row = 0; row < call.rows; row += kPanelRows) {
            fill_panels<Type>(call, row, panels);
            for (std::int64_t first = 0; first < call.tokens; first += kPanelTokens) {
                const std::int64_t left = call.tokens - first;
                multiply(row, first, static_cast<int>(left < kPanelTokens ? left : kPanelTokens));
            }
        }
    }

  private:
    static constexpr std::int64_t kManyRows = 4 * kPanelRows;

    /// The group of the tokens from `first` on, which are multiplied next: with the first rows,
    /// since after those the tokens are near. For fewer than kManyRows asking costs more than it
    /// brings.
    [[gnu::always_inline]] void ask_for_next_tokens(std::int64_t first,
                                                    int count,
                                                    std::int64_t group) const {
        for (std::int64_t t = first; t < first + count && t < call.tokens; ++t) {
            ask_ahead(call.activations[t], sizeof(Q8Group), group * std::int64_t{sizeof(Q8Group)});
        }
    }

    template <bool kIsFirst>
    void add_groups(std::int64_t first_row,
                    std::int64_t first,
                    int count,
                    std::int64_t group,
                    std::int64_t end,
                    Totals* totals) const {
        const void* const* x = call.activations + first;
        for (std::int64_t g = group; g < end; ++g) {
            ask_for_rows(call,
                         first_row + kPanelRows,
                         kPanelRows,
                         first / kPanelTokens * groups_of(call) + g,
                         (call.tokens + kPanelTokens - 1) / kPanelTokens * groups_of(call));
            for_tiles(count, [&]<int kCount>(std::int64_t t) {
                if (first_row == 0 && call.rows >= kManyRows) {
                    ask_for_next_tokens(first + t + kCount, kCount, g);
                }
                Type::template add_group<kCount, kIsFirst>(
                    panels[g], blocks_in<Type>(call, g), x + t, g, totals + t);
            });
        }
    }

    void multiply(std::int64_t first_row, std::int64_t first, int count) const {
        alignas(64) Totals totals[kPanelTokens];
        add_groups<true>(first_row, first, count, 0, 1, totals);
        add_groups<false>(first_row, first, count, 1, groups_of(call), totals);
        const int blocks = blocks_in<Type>(call, 0);
        for (int t = 0; t < count; ++t) {
            Type::finish(totals[t], blocks, call.out + (first + t) * call.out_stride + first_row);
        }
    }
};

/// The rows by sixteens where there are tokens enough, the rest row by row.
template <typename Type, typename Tile>
void dot_with_panels(const DotCall& call) {
    DotCall rest = call;
    if (call.panels != nullptr && call.tokens >= kPanelTokensMin) {
        DotCall whole = call;
        whole.rows = call.rows / kPanelRows * kPanelRows;
        PanelDot<Type>(whole).run();
        rest.weights = row_of(call, whole.rows);
        rest.rows -= whole.rows;
        rest.out += whole.rows;
    }
    if (rest.rows > 0) for_token_tiles<Tile>(rest);
}

template <typename Ints, typename Type>
void dot_32(const DotCall& call) {
    dot_with_panels<Panel32<Type>, Tile32<Ints, Type>>(call);
}
template <typename Ints, typename Block>
void dot_256(const DotCall& call) {
    dot_with_panels<PanelK<Block>, Tile256<Ints, Block>>(call);
}

}  // namespace
}  // namespace hearth::cpu
