// Experts that lie apart, each with memory around it that nobody may read: a kernel that reads in
// front of an expert's rows or behind them ends this program. Emulated only.
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

#include "kernels/cuda/compile_experts.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

enum class Side { front, back };

/// Some bytes with a page that cannot be read right in front of them, or right behind.
class GuardedBytes {
  public:
    GuardedBytes(std::span<const std::byte> bytes, Side guard) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t pages = (bytes.size() + page - 1) / page * page;
        mapped_bytes_ = pages + 2 * page;
        mapped_ = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped_ == MAP_FAILED) throw std::runtime_error("no memory to guard");
        std::byte* readable = static_cast<std::byte*>(mapped_) + page;
        if (mprotect(readable, pages, PROT_READ | PROT_WRITE) != 0) {
            throw std::runtime_error("memory cannot be guarded");
        }
        data_ = guard == Side::front ? readable : readable + pages - bytes.size();
        std::memset(readable, 0xFF, pages);  // no number as a half
        std::memcpy(data_, bytes.data(), bytes.size());
    }
    ~GuardedBytes() { munmap(mapped_, mapped_bytes_); }
    GuardedBytes(const GuardedBytes&) = delete;
    GuardedBytes& operator=(const GuardedBytes&) = delete;

    [[nodiscard]] const std::byte* data() const { return data_; }

  private:
    void* mapped_ = nullptr;
    std::size_t mapped_bytes_ = 0;
    std::byte* data_ = nullptr;
};

/// A weight of halves whose experts are guarded, found through a table.
class GuardedExperts {
  public:
    GuardedExperts(const TestWeight& weight, Side guard)
        : matrix_(weight.matrix()),
          used_(std::vector<std::uint8_t>(experts_of(weight))) {
        const auto bytes = weight.tensor().bytes;
        const std::size_t each = bytes.size() / experts_of(weight);
        std::vector<std::int64_t> shifts;
        for (std::size_t e = 0; e < experts_of(weight); ++e) {
            parts_.push_back(std::make_unique<GuardedBytes>(bytes.subspan(e * each, each), guard));
            shifts.push_back(reinterpret_cast<std::intptr_t>(parts_.back()->data()) -
                             reinterpret_cast<std::intptr_t>(parts_.front()->data()));
        }
        table_ = DeviceArray<std::int64_t>(shifts);
        matrix_.quants = reinterpret_cast<const std::uint8_t*>(parts_.front()->data());
        matrix_.experts = {.shifts = table_.data(), .used = used_.data()};
    }

    [[nodiscard]] const Matrix& matrix() const { return matrix_; }
    [[nodiscard]] std::vector<std::uint8_t> used() const { return used_.read(); }

  private:
    static std::size_t experts_of(const TestWeight& weight) {
        return static_cast<std::size_t>(weight.tensor().shape.dim(0));
    }

    Matrix matrix_;
    std::vector<std::unique_ptr<GuardedBytes>> parts_;
    DeviceArray<std::int64_t> table_{1};
    DeviceArray<std::uint8_t> used_;
};

struct BlockShape {
    int columns, ffn_dim, rows;
};

constexpr int kExperts = 3;

/// An expert block over some weights, and one expert for each token or two.
class GuardedBlock {
  public:
    GuardedBlock(compute::Dtype dtype, const BlockShape& shape)
        : shape_(shape),
          gate_(dtype, {kExperts, shape.ffn_dim, shape.columns}, random_),
          up_(dtype, {kExperts, shape.ffn_dim, shape.columns}, random_),
          down_(dtype, {kExperts, shape.rows, shape.ffn_dim}, random_) {}

    /// The same bits from guarded experts as from a weight in one piece.
    void check(const std::vector<std::int32_t>& choices, int experts_per_token) {
        INFO(choices.size() << " pairs, " << experts_per_token << " of a token");
        const auto x =
            random_values(choices.size() * static_cast<std::size_t>(shape_.columns), random_, 0.1F);
        const auto weights = random_values(choices.size(), random_);
        const auto run = [&](const Matrix& gate, const Matrix& up, const Matrix& down) {
            return run_block(gate, up, down, choices, experts_per_token, x, weights);
        };
        const auto expected = run(gate_.matrix(), up_.matrix(), down_.matrix());
        for (const float value : expected) {
            REQUIRE(std::isfinite(value));
        }
        for (const Side guard : {Side::front, Side::back}) {
            const GuardedExperts gate(gate_, guard);
            const GuardedExperts up(up_, guard);
            const GuardedExperts down(down_, guard);
            CHECK(is_same(run(gate.matrix(), up.matrix(), down.matrix()), expected));
            for (std::int32_t e = 0; e < kExperts; ++e) {
                const bool is_chosen = std::ranges::count(choices, e) > 0;
                CHECK((gate.used()[static_cast<std::size_t>(e)] == 1) == is_chosen);
            }
        }
    }

  private:
    [[nodiscard]] std::vector<float> run_block(const Matrix& gate,
                                               const Matrix& up,
                                               const Matrix& down,
                                               const std::vector<std::int32_t>& choices,
                                               int experts_per_token,
                                               const std::vector<float>& x,
                                               const std::vector<float>& weights) const {
        const std::size_t pairs = choices.size();
        const int tokens = static_cast<int>(pairs) / experts_per_token;
        const DeviceArray<float> device_x(x);
        const DeviceArray<std::int32_t> experts(choices);
        const DeviceArray<float> shares(weights);
        const DeviceArray<float> out(static_cast<std::size_t>(tokens * shape_.rows));
        const DeviceArray<float> hidden(pairs * static_cast<std::size_t>(shape_.ffn_dim));
        const DeviceArray<float> products(pairs * static_cast<std::size_t>(shape_.rows));
        const DeviceArray<PairTile> tiles(kExperts + pairs);
        const DeviceArray<std::int32_t> tile_count(1);
        const DeviceArray<std::int32_t> sorted(pairs);
        ExpertsNode node{.gate = gate,
                         .up = up,
                         .down = down,
                         .expert_count = kExperts,
                         .ffn_dim = shape_.ffn_dim,
                         .x = {device_x.data(), shape_.columns},
                         .experts = {experts.data(), experts_per_token},
                         .weights = {shares.data(), experts_per_token},
                         .residual = {},
                         .out = {out.data(), shape_.rows},
                         .rows = shape_.rows,
                         .experts_per_token = experts_per_token,
                         .room = {}};
        node.room.hidden = hidden.data();
        node.room.products = products.data();
        node.room.tiles = {tiles.data(), tile_count.data(), sorted.data()};
        require(run_experts(node, tokens, kStream));
        return out.read();
    }

    std::mt19937 random_{seed_of(67)};
    const BlockShape shape_;
    const TestWeight gate_, up_, down_;
};

TEST_CASE("experts of halves are read where they are and nowhere else", "[cuda][experts]") {
    for (const auto dtype : {compute::Dtype::f16, compute::Dtype::bf16}) {
        for (const BlockShape& shape : {BlockShape{64, 32, 64},
                                        BlockShape{32, 64, 17},
                                        BlockShape{288, 96, 150},
                                        BlockShape{64, 160, 16},
                                        BlockShape{256, 256, 131},
                                        BlockShape{33, 20, 5}}) {
            INFO(compute::traits(dtype).name << ", " << shape.columns << " columns, "
                                             << shape.ffn_dim << ", " << shape.rows << " rows");
            GuardedBlock block(dtype, shape);
            // One to eight pairs of one expert, nine that take two tiles, and one tile of many.
            for (const std::size_t pairs : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 27U}) {
                block.check(std::vector<std::int32_t>(pairs, 1), 1);
            }
            block.check({2, 0}, 2);
            block.check({2, 1, 0, -1, 1, 2, 1, 0}, 2);
        }
    }
}

}  // namespace
}  // namespace hearth::cuda::test
