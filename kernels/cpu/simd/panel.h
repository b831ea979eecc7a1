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

#include "kernels/cpu/simd/dot_quantised.h"

namespace hearth::cpu {
namespace {

/// 256 columns of sixteen rows.
struct alignas(64) Panel {
    std::int8_t quants[kRunsPerGroup][kStepsPerRun][kPanelRows][4];
    std::int16_t scales[2 * kRunsPerGroup][kPanelRows][2];  ///< of the K types, each twice
    std::int16_t offsets[kRunsPerGroup][kPanelRows][2];     ///< of the K types: times sums of x
    float d[kRunsPerGroup][kPanelRows];  ///< by block; of the K types d, then dmin
    float m[kRunsPerGroup][kPanelRows];  ///< by block, of Q5_1
};
static_assert(sizeof(Panel) <= kPanelBytes);

constexpr int kHalfRows = kPanelRows / 2;

/// Lane j of rows[i] becomes lane i of rows[j].
inline void transpose(__m256i* rows) {
    __m256i pairs[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    __m256i fours[8];
    for (int i = 0; i < 8; i += 4) {
        fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        rows[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
    }
}

inline void store_32(void* p, __m256i a) {
    _mm256_store_si256(static_cast<__m256i*>(p), a);
}

/// Eight rows of a run of 32 columns: `rows` holds a row each.
inline void store_run(__m256i* rows, int run, int first_row, Panel& panel) {
    transpose(rows);
    for (int step = 0; step < kStepsPerRun; ++step) {
        store_32(panel.quants[run][step][first_row], rows[step]);
    }
}

// ---- types of 32-blocks

/// `kAdded`: what a panel's quants are larger by than the type's.
template <typename Type, int kAdded = Type::kIsSigned ? kSignedOffset : 0>
struct Panel32 {
    using Block = typename Type::Block;
    static constexpr int kBlocks = kBlocksPerGroup;
    static constexpr int kOffset = Type::kOffset + kAdded;

    static void fill(const Block* const* rows, int blocks, int first_row, Panel& panel) {
        for (int b = 0; b < blocks; ++b) {
            __m256i quants[kHalfRows];
            for (int r = 0; r < kHalfRows; ++r) {
                quants[r] = Type::quants(rows[r][b]);
                if constexpr (kAdded != 0) {
                    const auto added = static_cast<char>(kAdded);
                    quants[r] = _mm256_add_epi8(quants[r], _mm256_set1_epi8(added));
                }
            }
            store_run(quants, b, first_row, panel);
        }
        __m256i factors[kHalfRows];
        for (int r = 0; r < kHalfRows; ++r) {
            factors[r] = _mm256_castps_si256(factors_of(rows[r], blocks));
        }
        store_factors(factors, blocks, first_row, panel.d);
        if constexpr (Type::kHasMinimum) {
            for (int r = 0; r < kHalfRows; ++r) {
                factors[r] = _mm256_castps_si256(Type::minima(rows[r], blocks));
            }
            store_factors(factors, blocks, first_row, panel.m);
        }
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
            for (int t = 0; t < kCount; ++t) {
                for (int b = blocks; b < kBlocksPerGroup; ++b) {
                    store_floats(totals[t][b], broadcast_floats(0.0F));
                }
            }
        }
    }

    static void finish(const Totals& totals, float* out) {
        const auto lane = [&](int b) { return load_floats(totals[b]); };
        const Floats16 even = add(add(lane(0), lane(4)), add(lane(2), lane(6)));
        const Floats16 odd = add(add(lane(1), lane(5)), add(lane(3), lane(7)));
        store_floats_unaligned(out, add(even, odd));
    }

  private:
    static void store_factors(__m256i* factors,
                              int blocks,
                              int first_row,
                              float (*to)[kPanelRows]) {
        transpose(factors);
        for (int b = 0; b < blocks; ++b) {
            store_32(to[b] + first_row, factors[b]);
        }
    }
};

// ---- the K types

/// 32 bytes of eight rows, turned: the step's four bytes of each row side by side.
template <typename Block>
inline void load_turned(const Block* const* rows, std::int64_t offset, __m256i* steps) {
    for (int r = 0; r < kHalfRows; ++r) {
        steps[r] = load_32(reinterpret_cast<const char*>(rows[r]) + offset);
    }
    transpose(steps);
}

/// `kBits` bits of each byte from bit `first` on, moved to bit `to`.
template <int kBits, int kTo>
inline __m256i bits_of(__m256i bytes, int first) {
    constexpr int kMask = ((1 << kBits) - 1) << kTo;
    const __m256i moved = first >= kTo ? _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(first - kTo))
                                       : _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(kTo - first));
    return _mm256_and_si256(moved, _mm256_set1_epi8(kMask));
}

/// The quants of eight rows of a block. Bytes are turned before their bits are taken apart.
inline void store_quants(const BlockQ4K* const* rows, int first_row, Panel& panel) {
    for (int pair = 0; pair < 4; ++pair) {
        __m256i bytes[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ4K, quants) + 32 * pair, bytes);
        for (int step = 0; step < kStepsPerRun; ++step) {
            store_32(panel.quants[2 * pair][step][first_row], bits_of<4, 0>(bytes[step], 0));
            store_32(panel.quants[2 * pair + 1][step][first_row], bits_of<4, 0>(bytes[step], 4));
        }
    }
}
inline void store_quants(const BlockQ5K* const* rows, int first_row, Panel& panel) {
    __m256i high[kStepsPerRun];
    load_turned(rows, offsetof(BlockQ5K, high), high);
    for (int pair = 0; pair < 4; ++pair) {
        __m256i bytes[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ5K, quants) + 32 * pair, bytes);
        for (int step = 0; step < kStepsPerRun; ++step) {
            for (int half = 0; half < 2; ++half) {
                const int run = 2 * pair + half;
                const __m256i low = bits_of<4, 0>(bytes[step], 4 * half);
                const __m256i fifth = bits_of<1, 4>(high[step], run);
                store_32(panel.quants[run][step][first_row], _mm256_or_si256(low, fifth));
            }
        }
    }
}
inline void store_quants(const BlockQ6K* const* rows, int first_row, Panel& panel) {
    for (int half = 0; half < 2; ++half) {
        __m256i high[kStepsPerRun];
        load_turned(rows, offsetof(BlockQ6K, high) + 32 * half, high);
        for (int part = 0; part < 2; ++part) {
            __m256i bytes[kStepsPerRun];
            load_turned(rows, offsetof(BlockQ6K, low) + 64 * half + 32 * part, bytes);
            for (int step = 0; step < kStepsPerRun; ++step) {
                for (int top = 0; top < 2; ++top) {
                    const int quarter = part + 2 * top;
                    const __m256i low = bits_of<4, 0>(bytes[step], 4 * top);
                    const __m256i fifth_and_sixth = bits_of<2, 4>(high[step], 2 * quarter);
                    store_32(panel.quants[4 * half + quarter][step][first_row],
                             _mm256_or_si256(low, fifth_and_sixth));
                }
            }
        }
    }
}

/// The first (kWhich 0) or second of each lane's two 16-bit numbers in both places.
template <int kWhich>
inline __m256i doubled(__m256i a) {
    constexpr int kBytes = kWhich == 0 ? 0x01000100 : 0x03020302;
    return _mm256_shuffle_epi8(
        a,
        _mm256_add_epi32(
            _mm256_set1_epi32(kBytes),
            _mm256_setr_epi32(
                0, 0x04040404, 0x08080808, 0x0C0C0C0C, 0, 0x04040404, 0x08080808, 0x0C0C0C0C)));
}

/// `pairs[p]`: scales 2p and 2p + 1 of eight rows.
inline void store_scales(const __m256i* pairs, int count, int first_row, Panel& panel) {
    for (int p = 0; p < count; ++p) {
        store_32(panel.scales[2 * p][first_row], doubled<0>(pairs[p]));
        store_32(panel.scales[2 * p + 1][first_row], doubled<1>(pairs[p]));
    }
}
inline void store_offsets(const __m256i* pairs, int count, int first_row, Panel& panel) {
    for (int p = 0; p < count; ++p) {
        store_32(panel.offsets[p][first_row], pairs[p]);
    }
}

/// Q4_K and Q5_K: eight scales and minima of six bits.
template <typename Block>
inline void store_k_factors(const Block* const* rows, int first_row, Panel& panel) {
    __m256i factors[kHalfRows];
    for (int r = 0; r < kHalfRows; ++r) {
        factors[r] = unpack_scales(rows[r]->scales);
        panel.d[0][first_row + r] = to_float(rows[r]->d);
        panel.d[1][first_row + r] = to_float(rows[r]->dmin);
    }
    transpose(factors);
    store_scales(factors, 4, first_row, panel);
    store_offsets(factors + 4, 4, first_row, panel);
}
inline void store_k_factors(const BlockQ6K* const* rows, int first_row, Panel& panel) {
    __m256i factors[kHalfRows];
    for (int r = 0; r < kHalfRows; ++r) {
        factors[r] = _mm256_cvtepi8_epi16(load_16(rows[r]->scales));
        panel.d[0][first_row + r] = to_float(rows[r]->d);
    }
    transpose(factors);
    store_scales(factors, 8, first_row, panel);
    store_offsets(factors, 8, first_row, panel);
}

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

    static void fill(const Block* const* rows, int, int first_row, Panel& panel) {
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
        for (int run = 0; run < kRunsPerGroup; ++run) {
            const std::int8_t* columns[kCount];
            for (int t = 0; t < kCount; ++t) {
                columns[t] = groups[t]->quants + run * kQ8Elements;
            }
            add_scaled_run<kQuantMax, kScaleSteps, kCount>(
                panel.quants[run], panel.scales + run * kStepsPerRun / kScaleSteps, columns, sums);
        }
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

    static void finish(const Totals& totals, float* out) {
        const Floats16 sum = load_floats(totals[0]);
        store_floats_unaligned(out, kHasMinimum ? sub(sum, load_floats(totals[1])) : sum);
    }

    template <bool kIsFirst = false>
    static void add_product(Ints16 sum, Floats16 factor, float* total) {
        const Floats16 before = kIsFirst ? broadcast_floats(0.0F) : load_floats(total);
        store_floats(total, fma(to_floats(sum), factor, before));
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

/// Lays out sixteen rows of weights, (groups) panels.
template <typename Type>
void fill_panels(const DotCall& call, std::int64_t first_row, Panel* panels) {
    using Block = typename Type::Block;
    for (int half = 0; half < kPanelRows; half += kHalfRows) {
        const Block* rows[kHalfRows];
        for (int r = 0; r < kHalfRows; ++r) {
            rows[r] = reinterpret_cast<const Block*>(row_of(call, first_row + half + r));
        }
        for (std::int64_t g = 0; g < groups_of(call); ++g) {
            Type::fill(rows, blocks_in<Type>(call, g), half, panels[g]);
            for (const Block*& row : rows) {
                row += Type::kBlocks;
            }
        }
    }
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
    /// The rows that are laid out next come from memory while these are multiplied: at each group
    /// of each sixteen tokens a share of their bytes.
    [[gnu::always_inline]] void ask_for_next_rows(std::int64_t first_row,
                                                  std::int64_t first_token,
                                                  std::int64_t group) const {
        const std::int64_t groups = groups_of(call);
        const std::int64_t shares = (call.tokens + kPanelTokens - 1) / kPanelTokens * groups;
        const std::int64_t bytes = (kPanelRows * call.row_bytes + shares - 1) / shares;
        const std::int64_t share = first_token / kPanelTokens * groups + group;
        ask_ahead(row_of(call, first_row + kPanelRows), bytes, share * bytes);
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
            ask_for_next_rows(first_row, first, g);
            for_tiles(count, [&]<int kCount>(std::int64_t t) {
                Type::template add_group<kCount, kIsFirst>(
                    panels[g], blocks_in<Type>(call, g), x + t, g, totals + t);
            });
        }
    }

    void multiply(std::int64_t first_row, std::int64_t first, int count) const {
        alignas(64) Totals totals[kPanelTokens];
        add_groups<true>(first_row, first, count, 0, 1, totals);
        add_groups<false>(first_row, first, count, 1, groups_of(call), totals);
        for (int t = 0; t < count; ++t) {
            Type::finish(totals[t], call.out + (first + t) * call.out_stride + first_row);
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
