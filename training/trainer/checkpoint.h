// What a run needs to go on: weights, moments and counters, in one plain little-endian file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "training/trainer/optimizer.h"
#include "training/trainer/shape.h"

namespace hearth::trainer {

struct TrainState {
    ModelShape shape;
    std::vector<float> weights;
    Moments moments;
    std::uint64_t steps = 0;
    std::uint64_t tokens = 0;
    std::uint64_t train_windows = 0;  // drawn so far from each set
    std::uint64_t decay_windows = 0;
    double seconds = 0;  // spent in this run, over all its starts
};

/// A state at the start: seeded weights, no moments.
TrainState make_state(const ModelShape& shape, std::uint64_t seed);

/// Writes beside `path` and renames.   Errors: io.
Result<void> save_checkpoint(const TrainState& state, const std::string& path);

/// Also reads weights alone (the same file without the moments, which then start at zero), which
/// is what training/gpu writes, and checkpoints from before shapes had a count of shared experts.
/// Errors: io, corrupt (not a checkpoint, or cut short).
Result<TrainState> load_checkpoint(const std::string& path);

/// The weights of a block for multi-token prediction, with the shape of its trunk: what
/// training/gpu writes with --mtp. Errors: as above.
Result<TrainState> load_mtp_checkpoint(const std::string& path);

}  // namespace hearth::trainer
