// Dot products of quantised weights for many tokens on the tile unit: sixteen rows of weights at a
// time are laid out in scratch, as panel.h does it, and multiplied with sixteen tokens a tile. The
// integers are exact and the floats are added as panel.h adds them, so that the bits are those of
// the other AVX-512 kernels, which also take few tokens and the rest of the rows. `Tiles` is the
// unit. Included by tile_table.h alone; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/tile_panel.h"
#include "kernels/cpu/simd/tile_unit.h"

namespace hearth::cpu {
namespace {

constexpr std::int64_t least(std::int64_t a, std::int64_t b) {
    return a < b ? a : b;
}
constexpr std::int64_t tiles_of(const DotCall& call) {
    return (call.tokens + kTileRows - 1) / kTileRows;
}

/// The tokens of a call by sixteens. Where their rows lie evenly spaced, as a step's do, quants are
/// loaded from there; others, as those of an expert, are gathered in the scratch of the call.
class TokenTiles {
  public:
    explicit TokenTiles(const DotCall& call)
        : call_(call),
          groups_(groups_of(call)),
          scratch_(static_cast<TileTokens*>(call.panels)) {
        for (std::int64_t tile = 0; tile < tiles_of(call); ++tile) {
            const void* const* rows = call.activations + tile * kTileRows;
            sources_[tile] = source_of(rows, count(tile));
            if (sources_[tile].first != nullptr) continue;
            sources_[tile] = {at(tile, 0).quants[0], kGroupElements, sizeof(TileTokens)};
            for (std::int64_t g = 0; g < groups_; ++g) {
                gather_quants(rows, count(tile), g, at(tile, g));
            }
        }
    }
    void add_factors() const {
        for (std::int64_t tile = 0; tile < tiles_of(call_); ++tile) {
            for (std::int64_t g = 0; g < groups_; ++g) {
                gather_factors(call_.activations + tile * kTileRows, count(tile), g, at(tile, g));
            }
        }
    }

    [[nodiscard]] std::int64_t groups() const { return groups_; }
    /// Of the tokens in a tile.
    [[nodiscard]] int count(std::int64_t tile) const {
        return static_cast<int>(least(call_.tokens - tile * kTileRows, kTileRows));
    }
    /// For the factors.
    [[nodiscard]] TileTokens& at(std::int64_t tile, std::int64_t g) const {
        return scratch_[tile * groups_ + g];
    }
    /// The scratch behind the tiles.
    [[nodiscard]] void* rest() const { return scratch_ + tiles_of(call_) * groups_; }

    /// Columns of group `g` from `column` on, as many as tile register kTile is wide.
    template <typename Tiles, int kTile>
    void load(std::int64_t tile, std::int64_t g, int column) const {
        const Source& source = sources_[tile];
        Tiles::template load<kTile>(source.first + g * source.group_bytes + column,
                                    source.row_bytes);
    }

  private:
    struct Source {
        const std::int8_t* first;
        std::int64_t row_bytes;
        std::int64_t group_bytes;
    };

    /// Null where the rows are too few or not evenly spaced.
    static Source source_of(const void* const* rows, int count) {
        if (count < kTileRows) return {};
        const auto row = [&](int t) { return static_cast<const std::int8_t*>(rows[t]); };
        const std::int64_t stride = row(1) - row(0);
        for (int t = 2; t < count; ++t) {
            if (row(t) - row(t - 1) != stride) return {};
        }
        return {row(0), stride, sizeof(Q8Group)};
    }

    const DotCall& call_;
    std::int64_t groups_;
    TileTokens* scratch_;  ///< (tiles, groups)
    Source sources_[kPanelTokensMax / kTileRows];
};

/// What both kinds of types share: `Dot` lays out sixteen rows (`fill`) and multiplies them with
/// all tokens (`multiply`). The unit is configured by each call, which takes thousands of cycles
/// for its rows: no thread has to know what another kernel left in it.
template <typename Tiles, typename Dot>
void run_tiles(const DotCall& call) {
    const Dot dot(call);
    Tiles::configure(Dot::config());
    std::int64_t row = 0;
    for (; row + Dot::kPanels * kPanelRows <= call.rows; row += Dot::kPanels * kPanelRows) {
        dot.template run<Dot::kPanels>(row);
    }
    for (; row < call.rows; row += kPanelRows) {
        dot.template run<1>(row);
    }
    Tiles::release();
}

// ---- types of 32-blocks: a block's products are a tile of 32 columns, then floats

template <typename Tiles, typename Type>
class TileDot32 {
    using Layout = Panel32<Type, -Type::kOffset>;
    using Totals = typename Layout::Totals;
    static constexpr int kBlockBytes = kQ8Elements;

  public:
    explicit TileDot32(const DotCall& call)
        : call_(call),
          tokens_(call),
          panels_(static_cast<Panel*>(tokens_.rest())) {
        tokens_.add_factors();
    }

    /// Tiles 0 and 1 are sums, 2 and 3 of tokens, 4 and 5 of weights.
    static TileConfig config() {
        TileConfig config;
        config.row_bytes[2] = config.row_bytes[3] = kBlockBytes;
        config.rows[4] = config.rows[5] = kStepsPerRun;
        return config;
    }

    static constexpr int kPanels = 1;

    template <int>
    void run(std::int64_t first_row) const {
        fill_panels<Layout>(call_, first_row, panels_);
        for (std::int64_t tile = 0; tile < tiles_of(call_); ++tile) {
            if (tokens_.count(tile) > kTileRows / 2) {
                multiply_tile<kTileRows>(first_row, tile);
            } else {
                multiply_tile<kTileRows / 2>(first_row, tile);
            }
        }
    }

  private:
    using Products = std::int32_t[kTileRows][kPanelRows];

    template <int kCount>
    void multiply_tile(std::int64_t first_row, std::int64_t tile) const {
        alignas(64) Totals totals[kCount];
        for (int b = 0; b < kBlocksPerGroup; ++b) {
            ask_for_rows(call_,
                         first_row + kPanelRows,
                         kPanelRows,
                         tile * kBlocksPerGroup + b,
                         tiles_of(call_) * kBlocksPerGroup);
            add_place<kCount>(tile, b, totals);
        }
        float* out = call_.out + tile * kTileRows * call_.out_stride + first_row;
        for (int t = 0; t < tokens_.count(tile); ++t) {
            Layout::finish(totals[t], kBlocksPerGroup, out + t * call_.out_stride);
        }
    }

    /// Block `b` of each group, two groups at a time: the unit works on one while the vectors add
    /// the other's products, in registers, to the tokens' totals.
    template <int kCount>
    void add_place(std::int64_t tile, int b, Totals* totals) const {
        // The last group may end before it.
        const std::int64_t groups =
            (call_.dim / kQ8Elements + kBlocksPerGroup - 1 - b) / kBlocksPerGroup;
        alignas(64) Products products[2];
        Floats16 sums[kCount];
#pragma GCC unroll 16
        for (int t = 0; t < kCount; ++t) {
            sums[t] = broadcast_floats(0.0F);
        }
        std::int64_t g = 0;
        for (; g + 2 <= groups; g += 2) {
            multiply_block<0>(tile, g, b, products[0]);
            multiply_block<1>(tile, g + 1, b, products[1]);
            add_products<kCount>(tokens_.at(tile, g), panels_[g], b, products[0], sums);
            add_products<kCount>(tokens_.at(tile, g + 1), panels_[g + 1], b, products[1], sums);
        }
        if (g < groups) {
            multiply_block<0>(tile, g, b, products[0]);
            add_products<kCount>(tokens_.at(tile, g), panels_[g], b, products[0], sums);
        }
#pragma GCC unroll 16
        for (int t = 0; t < kCount; ++t) {
            store_floats(totals[t][b], sums[t]);
        }
    }

    template <int kSet>
    void multiply_block(std::int64_t tile, std::int64_t g, int b, Products& products) const {
        Tiles::template zero<kSet>();
        tokens_.template load<Tiles, 2 + kSet>(tile, g, b * kBlockBytes);
        Tiles::template load<4 + kSet>(panels_[g].quants[b], kTileBytes);
        Tiles::template multiply_int8<kSet, 2 + kSet, 4 + kSet>();
        Tiles::template store<kSet>(products, sizeof products[0]);
    }

    template <int kCount>
    static void add_products(
        const TileTokens& x, const Panel& panel, int b, const Products& products, Floats16* sums) {
        const Floats16 d = load_floats(panel.d[b]);
#pragma GCC unroll 16
        for (int t = 0; t < kCount; ++t) {
            const Floats16 scale = broadcast_floats(x.scales[b][t]);
            if constexpr (Type::kHasMinimum) {
                const Floats16 m = load_floats(panel.m[b]);
                sums[t] = fma(mul(m, scale), broadcast_floats(x.sums[b][t]), sums[t]);
            }
            sums[t] = fma(mul(d, scale), to_floats(load_ints(products[t])), sums[t]);
        }
    }

    const DotCall& call_;
    TokenTiles tokens_;
    Panel* panels_;  ///< (groups)
};

// ---- the K types: 256 columns are one sum

template <typename Tiles, typename Type>
class TileDotK {
    using Layout = PanelK<Type>;
    using Totals = typename Layout::Totals;

  public:
    /// So many panels are multiplied with a tile of tokens while it is near.
    static constexpr int kPanels = 2;

    explicit TileDotK(const DotCall& call) : call_(call), tokens_(call) {}

    /// Tiles 0 to 3 are sums, of two panels with the low and the high part; 4 is of tokens, 5 and 6
    /// are of weights.
    static TileConfig config() { return {}; }

    /// Each group with a tile of tokens after the other. What the tile before has given is added on
    /// the vector units in the meantime.
    template <int kCount>
    void run(std::int64_t first_row) const {
        alignas(64) Totals totals[kCount][kPanelTokensMax];
        for (int p = 0; p < kCount; ++p) {
            __builtin_memset(totals[p], 0, sizeof(Totals) * static_cast<std::size_t>(call_.tokens));
        }
        alignas(64) TilePanelK panels[kCount];
        alignas(64) TileFactorsK factors[2][kCount];
        alignas(64) Products products[kCount][2];
        Part last = {};
        for (std::int64_t g = 0; g < tokens_.groups(); ++g) {
            fill<kCount>(first_row, g, panels, factors[g % 2]);
            for (std::int64_t tile = 0; tile < tiles_of(call_); ++tile) {
                const Part part = {g, tile * kTileRows, tokens_.count(tile)};
                ask_for_rows(call_,
                             first_row + kCount * kPanelRows,
                             kCount * kPanelRows,
                             g * tiles_of(call_) + tile,
                             tokens_.groups() * tiles_of(call_));
                multiply_part<kCount>(
                    part, last, panels, factors[last.group % 2], products, totals);
                last = part;
            }
        }
        for (int step = 0; step < kTileSteps; ++step) {
            add_products<kCount>(last, step, factors[last.group % 2], products, totals);
        }
        for (int p = 0; p < kCount; ++p) {
            float* out = call_.out + first_row + p * kPanelRows;
            for (std::int64_t t = 0; t < call_.tokens; ++t) {
                Layout::finish(totals[p][t], 1, out + t * call_.out_stride);
            }
        }
    }

  private:
    using Products = std::int32_t[kTileRows][kPanelRows];
    static constexpr int kPairs = kRunsPerGroup / 2;
    /// A group of columns with a tile of tokens.
    struct Part {
        std::int64_t group;
        std::int64_t first;
        int count;  ///< of tokens
    };

    /// A panel is read by whole lines, which the halves that were stored last would hold up: behind
    /// the others.
    template <int kCount>
    void fill(std::int64_t first_row,
              std::int64_t g,
              TilePanelK* panels,
              TileFactorsK* factors) const {
        alignas(64) Panel laid_out[kCount];
        for (int p = 0; p < kCount; ++p) {
            fill_panel<Layout>(call_, first_row + p * kPanelRows, g, laid_out[p]);
        }
        for (int p = 0; p < kCount; ++p) {
            split<Type>(laid_out[p], panels[p], factors[p]);
        }
    }

    /// `products`: in those of `last`, by panel, low and high; out those of `part`.
    template <int kCount>
    void multiply_part(const Part& part,
                       const Part& last,
                       const TilePanelK* panels,
                       const TileFactorsK* factors,
                       Products (*products)[2],
                       Totals (*totals)[kPanelTokensMax]) const {
        Tiles::template zero<0>();
        Tiles::template zero<1>();
        if constexpr (kCount == 2) {
            Tiles::template zero<2>();
            Tiles::template zero<3>();
        }
        for (int step = 0; step < kTileSteps; ++step) {
            tokens_.template load<Tiles, 4>(part.first / kTileRows, part.group, step * kTileBytes);
            multiply_tiles<0>(panels[0], step);
            if constexpr (kCount == 2) multiply_tiles<2>(panels[1], step);
            add_products<kCount>(last, step, factors, products, totals);
        }
        Tiles::template store<0>(products[0][0], kTileBytes);
        Tiles::template store<1>(products[0][1], kTileBytes);
        if constexpr (kCount == 2) {
            Tiles::template store<2>(products[1][0], kTileBytes);
            Tiles::template store<3>(products[1][1], kTileBytes);
        }
    }

    template <int kSum>
    static void multiply_tiles(const TilePanelK& panel, int step) {
        Tiles::template load<5>(panel.low[step], kTileBytes);
        Tiles::template load<6>(panel.high[step], kTileBytes);
        if constexpr (Layout::kHasMinimum) {
            Tiles::template multiply_int8_unsigned<kSum, 4, 5>();
            Tiles::template multiply_int8_unsigned<kSum + 1, 4, 6>();
        } else {
            Tiles::template multiply_int8<kSum, 4, 5>();
            Tiles::template multiply_int8<kSum + 1, 4, 6>();
        }
    }

    /// What a panel has for every token, in registers.
    struct Factors {
        explicit Factors(const TileFactorsK& factors)
            : d(load_floats(factors.d[0])),
              minimum_d(load_floats(factors.d[1])) {
#pragma GCC unroll 4
            for (int i = 0; i < kPairs; ++i) {
                offsets[i] = load_ints(factors.offsets[i]);
            }
        }
        Floats16 d, minimum_d;
        Ints16 offsets[kPairs];
    };

    /// A quarter of the tokens of `part`.
    template <int kCount>
    void add_products(const Part& part,
                      int quarter,
                      const TileFactorsK* panel_factors,
                      const Products (*products)[2],
                      Totals (*totals)[kPanelTokensMax]) const {
        constexpr int kTokens = kTileRows / kTileSteps;
        const Factors factors[2] = {Factors(panel_factors[0]), Factors(panel_factors[kCount - 1])};
        const auto end = static_cast<int>(least(part.count, (quarter + 1) * kTokens));
        for (int t = quarter * kTokens; t < end; ++t) {
            const auto& x =
                static_cast<const Q8kGroup*>(call_.activations[part.first + t])[part.group];
            const Floats16 scale = broadcast_floats(x.scale);
            Ints16 sums_of_x[kPairs];
#pragma GCC unroll 4
            for (int i = 0; i < kPairs; ++i) {
                sums_of_x[i] = broadcast_pair(x.sums_32 + 2 * i);
            }
#pragma GCC unroll 2
            for (int p = 0; p < kCount; ++p) {
                const Ints16 sum =
                    add(shift_left<TileScales<Type>::kHighBits>(load_ints(products[p][1][t])),
                        load_ints(products[p][0][t]));
                Totals& to = totals[p][part.first + t];
                Layout::add_product(sum, mul(factors[p].d, scale), to[0]);
                if constexpr (!Layout::kHasMinimum) continue;
                Ints16 offsets = broadcast_ints(0);
#pragma GCC unroll 4
                for (int i = 0; i < kPairs; ++i) {
                    offsets = add_pairs(offsets, factors[p].offsets[i], sums_of_x[i]);
                }
                Layout::add_product(offsets, mul(factors[p].minimum_d, scale), to[1]);
            }
        }
    }

    const DotCall& call_;
    TokenTiles tokens_;
};

/// Whole sixteens of rows on the unit where there are tokens enough, the rest by `kOthers`.
template <typename Tiles, typename Dot, WeightType kType, const Kernels& kOthers>
void dot_with_tiles(const DotCall& call) {
    DotCall rest = call;
    if (call.panels != nullptr && call.tokens >= kPanelTokensMin) {
        DotCall whole = call;
        whole.rows = call.rows / kPanelRows * kPanelRows;
        for (std::int64_t first = 0; first < call.tokens; first += kPanelTokensMax) {
            whole.activations = call.activations + first;
            whole.tokens = least(call.tokens - first, kPanelTokensMax);
            whole.out = call.out + first * call.out_stride;
            run_tiles<Tiles, Dot>(whole);
        }
        rest.weights = row_of(call, whole.rows);
        rest.rows -= whole.rows;
        rest.out += whole.rows;
    }
    if (rest.rows > 0) kOthers.dot[static_cast<std::size_t>(kType)](rest);
}

}  // namespace
}  // namespace hearth::cpu
