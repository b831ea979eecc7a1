// A small SIMT machine on the host: the threads of a block are fibers of one system thread, so that
// device code runs, and is tested, where no GPU is. Between two barriers the threads run in random
// order, which makes a missing barrier show; blocks run in random order too. A barrier that not all
// threads reach, two barriers met at once and a warp operation without its whole warp are errors.
// It does not model memory ordering, divergence within a warp, or time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <type_traits>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    // NOLINTNEXTLINE(google-explicit-constructor): as CUDA's
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

namespace hearth::simt {

inline constexpr int kWarpLanes = 32;

/// Runs `body` once for each thread of the grid.   `shared_bytes` of memory per block, poisoned.
/// Throws std::runtime_error where the threads break a rule of the machine.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);

/// Starts the random order anew: the same seed gives the same interleaving.
void seed(std::uint64_t value);

/// The block's dynamic shared memory, exactly as large as the launch says.
std::byte* shared_memory();
/// All threads of the block wait for each other.
void sync_block(std::source_location place);
/// All lanes of the warp deposit `bytes` (at most kLaneBytes) and get all lanes' deposits,
/// kLaneBytes apart; valid until the warp's second next exchange.
inline constexpr std::size_t kLaneBytes = 32;
const std::byte* exchange(const void* value, std::size_t bytes, std::source_location place);

/// What lane `lane` deposited, where this lane deposits `value`.
template <typename T>
T value_of_lane(const T& value, int lane, std::source_location place) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kLaneBytes);
    T out;
    const std::byte* all = exchange(&value, sizeof(T), place);
    std::memcpy(&out, all + static_cast<std::size_t>(lane) * kLaneBytes, sizeof(T));
    return out;
}

/// What all lanes of the warp bring to a product of the tensor cores; valid as exchange() says.
template <typename Word>
class OperandsOfWarp {
  public:
    struct Operands {
        Word a[4], b[2];
    };

    OperandsOfWarp(const Word (&a)[4], const Word (&b)[2], std::source_location place) {
        const Operands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
        all_ = exchange(&mine, sizeof(mine), place);
    }
    [[nodiscard]] Operands of(unsigned lane) const {
        Operands out;
        std::memcpy(&out, all_ + lane * kLaneBytes, sizeof(out));
        return out;
    }

  private:
    const std::byte* all_;
};

/// The tensor cores' product of signed bytes, 16 x 32 by 32 x 8; who holds what:
/// kernels/cuda/device.cuh.
void mma_s8(int (&c)[4],
            const int (&a)[4],
            const int (&b)[2],
            std::source_location place = std::source_location::current());
/// Fragments of the product of halves: kernels/cuda/tensor.cuh.
void load_matrices(unsigned (&out)[4],
                   const std::uint16_t* row,
                   bool is_transposed,
                   std::source_location place = std::source_location::current());

/// Copies that a thread does not wait for: nothing arrives before it does. `from` may be null, for
/// zeros. A thread that ends with copies under way is an error, as is an unaligned address.
/// Throws where 16 bytes may not be read or written.
inline void check_aligned(const void* address) {
    if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) {
        throw std::runtime_error("16 bytes are read or written at an unaligned address");
    }
}
/// A prefetch takes whole aligned pieces, and at least one.
inline void check_prefetch(const void* from, unsigned bytes) {
    check_aligned(from);
    if (bytes == 0 || bytes % 16 != 0) {
        throw std::runtime_error("a prefetch of no whole pieces of 16 bytes");
    }
}
void copy_16(void* to, const void* from);
void end_copies();
void wait_copies(std::size_t groups);

}  // namespace hearth::simt

// Of the thread that runs; set by the machine.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;
