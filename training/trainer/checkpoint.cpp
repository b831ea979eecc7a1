#include "training/trainer/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <type_traits>

namespace hearth::trainer {
namespace {

constexpr std::uint64_t kMagic = 0x32306B7063687268;  // "hrhcpk02" as bytes
// The same, but for the word of the shared experts, which the first version left open: it had one.
constexpr std::uint64_t kFirstMagic = 0x31306B7063687268;

/// Counters and shape as the file has them, in front of the arrays.
struct Header {
    std::uint64_t magic = kMagic;
    ModelShape shape;
    std::uint64_t steps = 0, tokens = 0, train_windows = 0, decay_windows = 0;
    double seconds = 0;
    std::uint64_t elements = 0;
};
static_assert(std::is_trivially_copyable_v<Header>);

}  // namespace

TrainState make_state(const ModelShape& shape, std::uint64_t seed) {
    const ParameterLayout layout(shape);
    TrainState state;
    state.shape = shape;
    state.weights = make_weights(layout, seed);
    state.moments.first.assign(layout.elements, 0.0F);
    state.moments.second.assign(layout.elements, 0.0F);
    return state;
}

Result<void> save_checkpoint(const TrainState& state, const std::string& path) {
    const std::string part = path + ".part";
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    Header header;
    header.shape = state.shape;
    header.steps = state.steps;
    header.tokens = state.tokens;
    header.train_windows = state.train_windows;
    header.decay_windows = state.decay_windows;
    header.seconds = state.seconds;
    header.elements = state.weights.size();
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    for (const auto* values : {&state.weights, &state.moments.first, &state.moments.second}) {
        file.write(reinterpret_cast<const char*>(values->data()),
                   static_cast<std::streamsize>(values->size() * sizeof(float)));
    }
    file.close();
    if (!file)
        return fail(
            ErrorCode::io, "cannot write checkpoint " + part + "; is the disk full?", "trainer");
    std::error_code error;
    std::filesystem::rename(part, path, error);
    if (error)
        return fail(ErrorCode::io,
                    "cannot rename " + part + " to " + path + ": " + error.message(),
                    "trainer");
    return {};
}

Result<TrainState> load_checkpoint(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::io, "cannot open checkpoint " + path, "trainer");
    Header header;
    file.read(reinterpret_cast<char*>(&header), sizeof(header));
    if (header.magic == kFirstMagic) header.shape.shared_expert_count = 1;
    if (!file || (header.magic != kMagic && header.magic != kFirstMagic) || !validate(header.shape))
        return fail(ErrorCode::corrupt, path + " is no checkpoint of this trainer", "trainer");
    const ParameterLayout layout(header.shape);
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    const auto with_arrays = [&](std::size_t count) {
        return sizeof(header) + count * layout.elements * sizeof(float);
    };
    const bool is_weights_alone = bytes == with_arrays(1);
    if (error || header.elements != layout.elements ||
        (bytes != with_arrays(3) && !is_weights_alone))
        return fail(ErrorCode::corrupt,
                    "checkpoint " + path + " is cut short or of another shape",
                    "trainer");
    TrainState state;
    state.shape = header.shape;
    state.steps = header.steps;
    state.tokens = header.tokens;
    state.train_windows = header.train_windows;
    state.decay_windows = header.decay_windows;
    state.seconds = header.seconds;
    for (auto* values : {&state.weights, &state.moments.first, &state.moments.second}) {
        values->assign(layout.elements, 0.0F);
        if (is_weights_alone && values != &state.weights) continue;
        file.read(reinterpret_cast<char*>(values->data()),
                  static_cast<std::streamsize>(layout.elements * sizeof(float)));
    }
    if (!file) return fail(ErrorCode::io, "cannot read checkpoint " + path, "trainer");
    return state;
}

}  // namespace hearth::trainer
