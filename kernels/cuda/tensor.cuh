// What feeds the tensor cores' product of halves (mma_float.cuh): fragments read from shared
// memory, and copies into shared memory that the thread does not wait for. As device.cuh, a place
// where the device and the tests' emulation differ.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/mma_float.cuh"

namespace hearth::cuda {

/// Two neighbouring halves as a register holds them, the first one low.
__device__ __forceinline__ unsigned pack_halves(std::uint16_t first, std::uint16_t second) {
    return static_cast<unsigned>(first) | (static_cast<unsigned>(second) << 16);
}

/// Where lane `lane` points load_matrices to: rows of a 16 x 16 tile, its quarters in the order in
/// which mma_halves wants the registers of `a`, and load_matrices_transposed those of two `b`.
struct TilePlace {
    int row, column;
};
__device__ __forceinline__ TilePlace rows_first(int lane) {
    return {lane % 16, lane / 16 * 8};
}
/// The quarters in the order of two `b` from rows that are columns of `b`.
__device__ __forceinline__ TilePlace columns_first(int lane) {
    return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8};
}

#if defined(__CUDACC__)

/// Four 8 x 8 matrices of halves from shared memory. Lane 8 i + r points to row r of matrix i (16
/// bytes, aligned); lane 4 g + t gets columns 2 t and 2 t + 1 of row g of each.
__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const std::uint16_t* row) {
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}
/// The same of the transposed matrices: lane 4 g + t gets rows 2 t and 2 t + 1 of column g.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&out)[4],
                                                         const std::uint16_t* row) {
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

/// Copies 16 bytes into shared memory, both aligned; zeros where `from` is null. Seen by the thread
/// after wait_copies, by the block after a barrier behind that. Turing copies at once.
__device__ __forceinline__ void copy_16(std::uint16_t* to, const std::uint16_t* from) {
#if __CUDA_ARCH__ >= 800
    if (from == nullptr) {
        *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
        return;
    }
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
    const uint4 zero = make_uint4(0, 0, 0, 0);
    *reinterpret_cast<uint4*>(to) = from == nullptr ? zero : *reinterpret_cast<const uint4*>(from);
#endif
}
/// Asks for the line of global memory around an address: into L2, so that a later load finds it.
__device__ __forceinline__ void prefetch(const void* address) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(address)));
}
/// Ends a group of copies of this thread.
__device__ __forceinline__ void end_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits until at most the `kGroups` youngest groups of this thread are under way.
template <int kGroups>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

#else

inline void load_matrices(unsigned (&out)[4], const std::uint16_t* row) {
    simt::load_matrices(out, row, false);
}
inline void load_matrices_transposed(unsigned (&out)[4], const std::uint16_t* row) {
    simt::load_matrices(out, row, true);
}
inline void copy_16(std::uint16_t* to, const std::uint16_t* from) {
    simt::copy_16(to, from);
}
/// Touches it, so that an address outside is found.
inline void prefetch(const void* address) {
    static_cast<void>(*static_cast<const volatile unsigned char*>(address));
}
inline void end_copies() {
    simt::end_copies();
}
template <int kGroups>
void wait_copies() {
    simt::wait_copies(kGroups);
}

#endif

}  // namespace hearth::cuda
