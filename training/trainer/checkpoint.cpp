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
constexpr std::uint64_t kMtpMagic = 0x313070746D687268;  // "hrhmtp01"

/// Counters and shape as the file has them, in front of the arrays.
struct Header {
    std::uint64_t magic = kMagic;
    ModelShape shape;
    std::uint64_t steps = 0, tokens = 0, train_windows = 0, decay_windows = 0;
    double seconds = 0;
    std::uint64_t elements = 0;
};
static_assert(std::is_trivially_copyable_v<Header>);

/// A checkpoint that is being read: its header, and the arrays that follow.
struct CheckpointFile {
    std::string path;
    std::ifstream stream;
    Header header = {};
    std::uintmax_t bytes = 0;

    static Result<CheckpointFile> open(const std::string& path) {
        CheckpointFile file{.path = path, .stream = std::ifstream(path, std::ios::binary)};
        if (!file.stream) return fail(ErrorCode::io, "cannot open checkpoint " + path, "trainer");
        file.stream.read(reinterpret_cast<char*>(&file.header), sizeof(file.header));
        std::error_code error;
        file.bytes = std::filesystem::file_size(path, error);
        if (!file.stream || error)
            return fail(ErrorCode::corrupt, path + " is no checkpoint of this trainer", "trainer");
        return file;
    }

    [[nodiscard]] bool holds(std::size_t arrays, std::size_t elements) const {
        return header.elements == elements &&
               bytes == sizeof(header) + arrays * elements * sizeof(float);
    }

    [[nodiscard]] TrainState counters() const {
        TrainState state;
        state.shape = header.shape;
        state.steps = header.steps;
        state.tokens = header.tokens;
        state.train_windows = header.train_windows;
        state.decay_windows = header.decay_windows;
        state.seconds = header.seconds;
        return state;
    }

    Result<void> read(std::size_t elements, std::vector<float>& values) {
        values.resize(elements);
        stream.read(reinterpret_cast<char*>(values.data()),
                    static_cast<std::streamsize>(elements * sizeof(float)));
        if (!stream) return fail(ErrorCode::io, "cannot read checkpoint " + path, "trainer");
        return {};
    }
};

Failure cut_short(const std::string& path) {
    return fail(
        ErrorCode::corrupt, "checkpoint " + path + " is cut short or of another shape", "trainer");
}

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
    Header header = {};
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
    HEARTH_TRY(CheckpointFile checkpoint, CheckpointFile::open(path));
    Header& header = checkpoint.header;
    if (header.magic == kFirstMagic) header.shape.shared_expert_count = 1;
    if ((header.magic != kMagic && header.magic != kFirstMagic) || !validate(header.shape))
        return fail(ErrorCode::corrupt, path + " is no checkpoint of this trainer", "trainer");
    const std::size_t elements = ParameterLayout(header.shape).elements;
    const bool is_weights_alone = checkpoint.holds(1, elements);
    if (!is_weights_alone && !checkpoint.holds(3, elements)) return cut_short(path);
    TrainState state = checkpoint.counters();
    state.moments.first.assign(elements, 0.0F);
    state.moments.second.assign(elements, 0.0F);
    HEARTH_CHECK(checkpoint.read(elements, state.weights));
    if (is_weights_alone) return state;
    HEARTH_CHECK(checkpoint.read(elements, state.moments.first));
    HEARTH_CHECK(checkpoint.read(elements, state.moments.second));
    return state;
}

Result<TrainState> load_mtp_checkpoint(const std::string& path) {
    HEARTH_TRY(CheckpointFile checkpoint, CheckpointFile::open(path));
    const Header& header = checkpoint.header;
    // The block has experts as its trunk's last layers have: a shape without them says nothing of
    // them.
    const bool has_experts = header.shape.dense_layer_count < header.shape.layer_count;
    if (header.magic != kMtpMagic || !validate(header.shape) || !has_experts)
        return fail(ErrorCode::corrupt,
                    path +
                        " is no checkpoint of a block for multi-token prediction; "
                        "training/gpu/run.py train --mtp writes one",
                    "trainer");
    const std::size_t elements = ParameterLayout::make_mtp(header.shape).elements;
    if (!checkpoint.holds(1, elements)) return cut_short(path);
    TrainState state = checkpoint.counters();
    HEARTH_CHECK(checkpoint.read(elements, state.weights));
    return state;
}

}  // namespace hearth::trainer
