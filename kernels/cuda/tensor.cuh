// The tensor cores' product of halves and what feeds it: fragments read from shared memory, and
// copies into shared memory that the thread does not wait for. As device.cuh, the place where the
// device and the tests' emulation differ.
#pragma once

#include "kernels/cuda/device.cuh"

namespace hearth::cuda {

/// Two neighbouring halves as a register holds them, the first one low.
__device__ __forceinline__ unsigned pack_halves(std::uint16_t first, std::uint16_t second) {
    return static_cast<unsigned>(first) | (static_cast<unsigned>(second) << 16);
}

/// Where lane `lane` points load_matrices to: rows of a 16 x 16 tile, its quarters in the order in
/// which mma_f16 wants the registers of `a`, and load_matrices_transposed those of two `b`.
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

/// c += a * b for 16 x 16 and 16 x 8 halves, sums in float. Lane 4 g + t holds of `a` rows g (a0,
/// a2) and g + 8 (a1, a3), columns 2 t and 2 t + 1 (a0, a1) and 8 more (a2, a3); of `b` column g,
/// rows 2 t and 2 t + 1 (b0) and 8 more (b1); of `c` rows g (c0, c1) and g + 8 (c2, c3), columns
/// 2 t and 2 t + 1. The order of the sums is the hardware's; a row's depends on no other row.
__device__ __forceinline__ void mma_f16(float (&c)[4],
                                        const unsigned (&a)[4],
                                        const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    // Turing multiplies 16 x 8 and 8 x 8.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
            "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
}

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

inline void mma_f16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    simt::mma_f16(c, a, b);
}
inline void load_matrices(unsigned (&out)[4], const std::uint16_t* row) {
    simt::load_matrices(out, row, false);
}
inline void load_matrices_transposed(unsigned (&out)[4], const std::uint16_t* row) {
    simt::load_matrices(out, row, true);
}
inline void copy_16(std::uint16_t* to, const std::uint16_t* from) {
    simt::copy_16(to, from);
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
