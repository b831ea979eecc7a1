// How fast this machine reads memory: the limit of decode.
#pragma once

#include <cstdint>

#include "kernels/cpu/thread_pool.h"

namespace hearth::cpu {

/// Bytes a second, the best of a few sweeps of all threads over `bytes` of memory (at least one
/// cache line); 0 where the memory cannot be had. What fits a cache is read from there, as weights
/// of that size are.
double measure_read_rate(ThreadPool& pool, std::int64_t bytes);

}  // namespace hearth::cpu
