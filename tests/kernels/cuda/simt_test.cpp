// The emulated machine itself: it runs what is right and finds what is wrong.
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

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

}  // namespace
}  // namespace hearth::simt
