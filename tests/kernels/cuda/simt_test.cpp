// The emulated machine itself: it runs what is right and finds what is wrong.
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cuda/tensor.cuh"
#include "tests/kernels/cuda/emulated/cuda_runtime.h"

namespace hearth::simt {
namespace {

constexpr int kThreads = 64;

/// Runs `body` in one block of kThreads threads with as many shared ints.
template <typename Body>
void run_block(Body body) {
    run_grid(dim3(1), dim3(kThreads), kThreads * sizeof(int), body);
}
int* shared_ints() {
    return reinterpret_cast<int*>(shared_memory());
}

TEST_CASE("threads of a block exchange values across a barrier", "[cuda][simt]") {
    std::vector<int> out(kThreads);
    run_block([&] {
        const unsigned i = threadIdx.x;
        shared_ints()[i] = static_cast<int>(i);
        __syncthreads();
        out[i] = shared_ints()[kThreads - 1 - i];
    });
    for (int i = 0; i < kThreads; ++i) {
        CHECK(out[static_cast<std::size_t>(i)] == kThreads - 1 - i);
    }
}

TEST_CASE("a missing barrier shows", "[cuda][simt]") {
    bool is_wrong = false;
    run_block([&] {
        const unsigned i = threadIdx.x;
        shared_ints()[i] = 1;
        if (shared_ints()[kThreads - 1 - i] != 1) is_wrong = true;
    });
    CHECK(is_wrong);
}

// Named, since a macro puts all lines of its arguments into one.
void meet_halfway() {
    if (threadIdx.x % kWarpLanes == 0) {
        __syncthreads();
    } else {
        __shfl_xor_sync(~0U, 1, 1);
    }
}
void meet_at_two_barriers() {
    if (threadIdx.x < kWarpLanes) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
void shuffle_half_a_warp() {
    if (threadIdx.x % 2 == 0) __shfl_xor_sync(~0U, 1, 2);
}

TEST_CASE("whoever waits for threads that do not come is reported", "[cuda][simt]") {
    CHECK_THROWS_WITH(run_block(meet_halfway), Catch::Contains("wait for others"));
    CHECK_THROWS_WITH(run_block(meet_at_two_barriers), Catch::Contains("two barriers"));
    CHECK_THROWS_WITH(run_block(shuffle_half_a_warp), Catch::Contains("wait for others"));
}

TEST_CASE("shuffles, votes and sums over a warp", "[cuda][simt]") {
    std::vector<int> sums(kThreads);
    std::vector<unsigned> votes(kThreads);
    run_block([&] {
        int value = static_cast<int>(threadIdx.x);
        for (int step = 16; step > 0; step /= 2) {
            value += __shfl_xor_sync(~0U, value, step);
        }
        sums[threadIdx.x] = value;
        votes[threadIdx.x] = __ballot_sync(~0U, threadIdx.x % 3 == 0);
    });
    CHECK(sums[0] == 31 * 32 / 2);
    CHECK(sums[40] == 31 * 32 / 2 + 32 * 32);
    CHECK(votes[5] == 0x49249249U);
}

TEST_CASE("shared memory is poisoned and blocks see their own index", "[cuda][simt]") {
    std::vector<int> seen(6);
    run_grid(dim3(3, 2), dim3(32), sizeof(int), [&] {
        if (threadIdx.x != 0) return;
        seen[blockIdx.x + 3 * blockIdx.y] = *shared_ints() == -1 ? 1 : -1;
    });
    CHECK(seen == std::vector<int>(6, 1));
}

TEST_CASE("the tensor cores' product is that of plain loops", "[cuda][simt]") {
    std::int8_t a[16][32];
    std::int8_t b[32][8];
    for (int i = 0; i < 16 * 32; ++i) {
        a[i / 32][i % 32] = static_cast<std::int8_t>(i * 37 % 255 - 127);
        b[i / 16][i % 8] = static_cast<std::int8_t>(i * 91 % 255 - 127);
    }
    int c[16][8];
    run_grid(dim3(1), dim3(32), 0, [&] {
        const auto lane = static_cast<int>(threadIdx.x);
        const int g = lane / 4;
        const int t = lane % 4;
        const auto word = [](auto byte) {
            unsigned bits = 0;
            for (int i = 0; i < 4; ++i) {
                bits |= static_cast<unsigned>(static_cast<std::uint8_t>(byte(i))) << (8 * i);
            }
            return static_cast<int>(bits);
        };
        int left[4];
        int right[2];
        for (int i = 0; i < 4; ++i) {
            left[i] = word([&](int k) { return a[g + 8 * (i % 2)][16 * (i / 2) + 4 * t + k]; });
        }
        for (int i = 0; i < 2; ++i) {
            right[i] = word([&](int k) { return b[16 * i + 4 * t + k][g]; });
        }
        int sums[4] = {1, 1, 1, 1};
        mma_s8(sums, left, right);
        for (int i = 0; i < 4; ++i) {
            c[g + 8 * (i / 2)][2 * t + i % 2] = sums[i];
        }
    });
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 8; ++column) {
            int expected = 1;
            for (int k = 0; k < 32; ++k) {
                expected += a[row][k] * b[k][column];
            }
            CHECK(c[row][column] == expected);
        }
    }
}

/// Halves 1/8 apart, whose products and sums are exact.
std::uint16_t some_half(int i) {
    return compute::float_to_half(static_cast<float>(i * 37 % 61 - 30) / 8.0F);
}
float value_of(std::uint16_t half) {
    return compute::half_to_float(half);
}

/// out[row][column] = 1 + the product of a (16 x 16) and b (16 x 16), with `b` in shared memory by
/// rows or by columns.
void check_half_product(bool b_has_columns_as_rows) {
    constexpr int kStride = 24;
    float out[16][16];
    run_grid(dim3(1), dim3(32), 2 * 16 * kStride * sizeof(std::uint16_t), [&] {
        auto* a = reinterpret_cast<std::uint16_t*>(shared_memory());
        std::uint16_t* b = a + 16 * kStride;
        const auto lane = static_cast<int>(threadIdx.x);
        for (int i = lane; i < 256; i += 32) {
            a[i / 16 * kStride + i % 16] = some_half(i);
            const int place =
                b_has_columns_as_rows ? i % 16 * kStride + i / 16 : i / 16 * kStride + i % 16;
            b[place] = some_half(i + 1000);
        }
        __syncwarp();
        const cuda::TilePlace at = cuda::rows_first(lane);
        unsigned left[4];
        unsigned right[4];
        cuda::load_matrices(left, a + at.row * kStride + at.column);
        if (b_has_columns_as_rows) {
            const cuda::TilePlace place = cuda::columns_first(lane);
            cuda::load_matrices(right, b + place.row * kStride + place.column);
        } else {
            cuda::load_matrices_transposed(right, b + at.row * kStride + at.column);
        }
        for (int n = 0; n < 2; ++n) {
            float sums[4] = {1.0F, 1.0F, 1.0F, 1.0F};
            cuda::mma_halves<cuda::Format::f16>(sums, left, {right[2 * n], right[2 * n + 1]});
            for (int i = 0; i < 4; ++i) {
                out[lane / 4 + 8 * (i / 2)][8 * n + 2 * (lane % 4) + i % 2] = sums[i];
            }
        }
    });
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 16; ++column) {
            float expected = 1.0F;
            for (int k = 0; k < 16; ++k) {
                expected +=
                    value_of(some_half(16 * row + k)) * value_of(some_half(16 * k + column + 1000));
            }
            CHECK(out[row][column] == expected);
        }
    }
}

TEST_CASE("the tensor cores' product of halves is that of plain loops", "[cuda][simt]") {
    check_half_product(false);
    check_half_product(true);
}

alignas(16) const std::uint16_t kEight[8] = {1, 2, 3, 4, 5, 6, 7, 8};

void leave_a_copy() {
    cuda::copy_16(reinterpret_cast<std::uint16_t*>(shared_memory()), kEight);
}
void copy_beside_the_border() {
    cuda::copy_16(reinterpret_cast<std::uint16_t*>(shared_memory()) + 1, kEight);
}

TEST_CASE("a copy arrives when it is waited for, oldest first", "[cuda][simt]") {
    std::vector<int> seen;
    run_grid(dim3(1), dim3(32), 32, [&] {
        if (threadIdx.x != 0) return;
        auto* halves = reinterpret_cast<std::uint16_t*>(shared_memory());
        const auto look = [&] {
            seen.push_back(halves[1]);
            seen.push_back(halves[8]);
        };
        cuda::copy_16(halves, kEight);
        cuda::end_copies();
        cuda::copy_16(halves + 8, nullptr);
        cuda::end_copies();
        look();
        cuda::wait_copies<1>();
        look();
        cuda::wait_copies<0>();
        look();
    });
    CHECK(seen == std::vector<int>{0xFFFF, 0xFFFF, 2, 0xFFFF, 2, 0});
    CHECK_THROWS_WITH(run_block(leave_a_copy), Catch::Contains("under way"));
    CHECK_THROWS_WITH(run_block(copy_beside_the_border), Catch::Contains("unaligned"));
}

}  // namespace
}  // namespace hearth::simt
