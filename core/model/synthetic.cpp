#include "core/model/synthetic.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/assert.h"
#include "core/compute/blocks.h"
#include "core/compute/half.h"
#include "core/model/synthetic_shapes.h"

namespace hearth::model {
namespace {

using compute::Dtype;
using compute::Tensor;

constexpr std::string_view kMixedQ4 = "Q4_K_M";
constexpr std::int64_t kPieceBytes = std::int64_t{1}
                                     << 20;  ///< about what a thread fills at a time
constexpr std::int64_t kTensorAlignment = 64;
constexpr double kBiasDeviation = 0.001;

/// Layers whose value and down matrices Q4_K_M keeps in Q6_K: the first and last eighth, and every
/// third between.
bool has_more_bits(std::int64_t layer, std::int64_t layer_count) {
    const std::int64_t eighth = layer_count / 8;
    return layer < eighth || layer >= 7 * layer_count / 8 || (layer - eighth) % 3 == 2;
}

Dtype mixed_q4(const SyntheticTensor& tensor, std::int64_t layer_count) {
    if (tensor.role == TensorRole::head) return Dtype::q6_k;
    const bool is_value_or_down = tensor.name.find("attn_v.weight") != std::string::npos ||
                                  tensor.name.find("ffn_down") != std::string::npos;
    return is_value_or_down && has_more_bits(tensor.layer, layer_count) ? Dtype::q6_k : Dtype::q4_k;
}

/// What a quantiser takes where a row is no whole number of blocks.
Dtype that_fits(Dtype dtype, std::int64_t row) {
    const auto fits = [row](Dtype each) { return row % compute::traits(each).elements == 0; };
    if (fits(dtype)) return dtype;
    Dtype narrower = dtype;
    if (dtype == Dtype::q4_k) narrower = Dtype::q5_0;
    if (dtype == Dtype::q5_k) narrower = Dtype::q5_1;
    if (dtype == Dtype::q6_k) narrower = Dtype::q8_0;
    return fits(narrower) ? narrower : Dtype::f16;
}

/// `type` has been checked.
Dtype dtype_of(const SyntheticTensor& tensor, std::string_view type, std::int64_t layer_count) {
    if (tensor.role == TensorRole::norm || tensor.role == TensorRole::bias ||
        tensor.role == TensorRole::router) {
        return Dtype::f32;
    }
    Dtype wanted = Dtype::q8_0;
    if (type == kMixedQ4) {
        wanted = mixed_q4(tensor, layer_count);
    } else if (type != "MXFP4" || tensor.role == TensorRole::experts) {
        wanted = compute::parse_dtype(type).value();
    }
    return that_fits(wanted, tensor.shape.dim(-1));
}

/// SplitMix64: quick, and good enough for weights.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    /// Mean 0, standard deviation 1.
    float uniform() {
        return (static_cast<float>(next() >> 40) * 0x1p-24F - 0.5F) * std::sqrt(12.0F);
    }

  private:
    std::uint64_t state_;
};

/// The part of each block that is not random: the factors, which lie together in every type.
struct Factors {
    std::vector<std::byte> block;
    std::size_t begin = 0, end = 0;
};

template <typename Block>
Factors factors(const Block& block, std::size_t begin, std::size_t end) {
    const auto bytes = std::as_bytes(std::span(&block, 1));
    return {{bytes.begin(), bytes.end()}, begin, end};
}

/// The eight scales and minima of a K type all 32, d and dmin such that quants below `levels` have
/// the mean 0.
template <typename Block>
Factors k_factors(double step, int levels) {
    Block block{};
    block.d = compute::float_to_half(static_cast<float>(step / 32.0));
    block.dmin = compute::float_to_half(static_cast<float>(step / 32.0 * (levels - 1) / 2.0));
    std::fill_n(block.scales, 8, std::uint8_t{0xA0});  // two high bits of 32 above all of 32
    return factors(block, 0, 2 * sizeof(block.d) + sizeof(block.scales));
}

template <typename Block>
Factors half_factor(double step) {
    Block block{};
    block.d = compute::float_to_half(static_cast<float>(step));
    return factors(block, 0, sizeof(block.d));
}

Factors factors_of(Dtype dtype) {
    /// Between neighbours of `levels` evenly likely ones.
    const auto step = [](int levels) {
        return kSyntheticDeviation / std::sqrt((levels * levels - 1) / 12.0);
    };
    switch (dtype) {
        case Dtype::q4_0:
            return half_factor<compute::BlockQ40>(step(16));
        case Dtype::q5_0:
            return half_factor<compute::BlockQ50>(step(32));
        case Dtype::q8_0:
            return half_factor<compute::BlockQ80>(step(256));
        case Dtype::q5_1: {
            compute::BlockQ51 block{};
            block.d = compute::float_to_half(static_cast<float>(step(32)));
            block.m = compute::float_to_half(static_cast<float>(-15.5 * step(32)));
            return factors(block, 0, sizeof(block.d) + sizeof(block.m));
        }
        case Dtype::mxfp4: {
            compute::BlockMxfp4 block{};
            block.exponent = 120;  // 2^-7 times codes of deviation 2.9
            return factors(block, 0, 1);
        }
        case Dtype::q4_k:
            return k_factors<compute::BlockQ4K>(step(16), 16);
        case Dtype::q5_k:
            return k_factors<compute::BlockQ5K>(step(32), 32);
        case Dtype::q6_k: {
            compute::BlockQ6K block{};
            std::fill_n(block.scales, sizeof(block.scales), std::int8_t{16});
            block.d = compute::float_to_half(static_cast<float>(step(64) / 16.0));
            return factors(block, offsetof(compute::BlockQ6K, scales), sizeof(block));
        }
        case Dtype::f32:
        case Dtype::f16:
        case Dtype::bf16:
        case Dtype::i32:
            break;
    }
    return {};
}

void fill_quants(Dtype dtype, std::span<std::byte> bytes, Random& random) {
    std::size_t at = 0;
    for (; at + sizeof(std::uint64_t) <= bytes.size(); at += sizeof(std::uint64_t)) {
        const std::uint64_t word = random.next();
        std::memcpy(bytes.data() + at, &word, sizeof(word));
    }
    for (; at < bytes.size(); ++at) {
        bytes[at] = static_cast<std::byte>(random.next() & 0xFFU);
    }
    const Factors fixed = factors_of(dtype);
    for (std::size_t block = 0; block < bytes.size(); block += fixed.block.size()) {
        std::memcpy(bytes.data() + block + fixed.begin,
                    fixed.block.data() + fixed.begin,
                    fixed.end - fixed.begin);
    }
}

void fill_floats(Dtype dtype, TensorRole role, std::span<std::byte> bytes, Random& random) {
    const auto deviation =
        static_cast<float>(role == TensorRole::bias ? kBiasDeviation : kSyntheticDeviation);
    const auto size = static_cast<std::size_t>(compute::traits(dtype).bytes);
    for (std::size_t at = 0; at < bytes.size(); at += size) {
        const float value = role == TensorRole::norm ? 1.0F : deviation * random.uniform();
        const std::uint16_t half =
            dtype == Dtype::f16 ? compute::float_to_half(value) : compute::float_to_bf16(value);
        std::memcpy(bytes.data() + at,
                    dtype == Dtype::f32 ? static_cast<const void*>(&value) : &half,
                    size);
    }
}

/// Some whole blocks of one tensor, filled from a seed of their own.
struct Piece {
    Dtype dtype;
    TensorRole role;
    std::span<std::byte> bytes;
};

void fill(std::span<const Piece> pieces, const SyntheticOptions& options) {
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t i = next++; i < pieces.size(); i = next++) {
            Random random(Random(options.seed ^ (i * 0xD1342543DE82EF95U)).next());
            if (compute::traits(pieces[i].dtype).is_quantised) {
                fill_quants(pieces[i].dtype, pieces[i].bytes, random);
            } else {
                fill_floats(pieces[i].dtype, pieces[i].role, pieces[i].bytes, random);
            }
        }
    };
    const auto cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
    const std::int32_t count = options.thread_count > 0 ? options.thread_count : cores;
    std::vector<std::thread> others;
    for (std::int32_t i = 1; i < count; ++i) {
        others.emplace_back(work);
    }
    work();
    for (std::thread& thread : others) {
        thread.join();
    }
}

/// Zeroed pages; those that nobody writes take no memory.
class Pages {
  public:
    static Result<std::shared_ptr<const Pages>> make(std::int64_t bytes, bool is_writable) {
        const auto size = static_cast<std::size_t>(bytes);
        void* const memory = ::mmap(nullptr,
                                    size,
                                    is_writable ? PROT_READ | PROT_WRITE : PROT_READ,
                                    MAP_PRIVATE | MAP_ANONYMOUS | (is_writable ? 0 : MAP_NORESERVE),
                                    -1,
                                    0);
        if (memory == MAP_FAILED) {
            return fail(ErrorCode::out_of_memory,
                        "no memory for a synthetic model of " + std::to_string(bytes) +
                            " bytes; name a smaller one",
                        "model");
        }
        // Page faults are half of the time of filling; where large pages are refused, small ones
        // do.
        if (is_writable) ::madvise(memory, size, MADV_HUGEPAGE);
        return std::shared_ptr<const Pages>(new Pages({static_cast<std::byte*>(memory), size}));
    }
    ~Pages() { ::munmap(bytes_.data(), bytes_.size()); }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

  private:
    explicit Pages(std::span<std::byte> bytes) : bytes_(bytes) {}
    const std::span<std::byte> bytes_;
};

Result<std::shared_ptr<const formats::GgufFile>> make_file(const SyntheticShape& shape,
                                                           std::string_view type,
                                                           const SyntheticOptions& options) {
    const std::vector<SyntheticTensor> wanted = tensors_of(shape);
    std::vector<Tensor> tensors;
    std::vector<std::int64_t> offsets = {0};
    for (const SyntheticTensor& each : wanted) {
        const Dtype dtype = dtype_of(each, type, shape.layer_count);
        const std::int64_t bytes = compute::row_bytes(dtype, each.shape.elements());
        tensors.push_back({each.name, dtype, each.shape, {}});
        offsets.push_back(offsets.back() +
                          (bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment);
    }
    HEARTH_TRY(const auto pages, Pages::make(offsets.back(), options.is_filled));
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const auto size = static_cast<std::size_t>(
            compute::row_bytes(tensors[i].dtype, tensors[i].shape.elements()));
        const auto bytes = pages->bytes().subspan(static_cast<std::size_t>(offsets[i]), size);
        tensors[i].bytes = bytes;
        const auto block = static_cast<std::size_t>(compute::traits(tensors[i].dtype).bytes);
        const std::size_t piece = kPieceBytes / block * block;
        for (std::size_t begin = 0; begin < size; begin += piece) {
            pieces.push_back({tensors[i].dtype,
                              wanted[i].role,
                              bytes.subspan(begin, std::min(piece, size - begin))});
        }
    }
    if (options.is_filled) fill(pieces, options);
    const std::string name = std::string(shape.name) + ":" + std::string(type);
    return formats::GgufFile::from_parts(
        "synthetic " + name, metadata_of(shape, "synthetic " + name), std::move(tensors), pages);
}

}  // namespace

std::string synthetic_names() {
    std::string names;
    for (const SyntheticShape& shape : synthetic_shapes()) {
        names += (names.empty() ? "" : ", ") + std::string(shape.name);
    }
    return names;
}

Result<std::shared_ptr<const formats::GgufFile>> make_synthetic(std::string_view spec,
                                                                const SyntheticOptions& options) {
    const std::size_t colon = std::min(spec.find(':'), spec.size());
    const std::string_view name = spec.substr(0, colon);
    const std::string_view type = spec.substr(std::min(colon + 1, spec.size()));
    const auto broken = [&](const std::string& what) {
        return fail(ErrorCode::invalid_argument,
                    "cannot make the synthetic model \"" + std::string(spec) + "\": " + what,
                    "model");
    };
    const auto dtype = compute::parse_dtype(type);
    if (type != kMixedQ4 && (!dtype || *dtype == Dtype::i32)) {
        return broken("its type, after a colon, is Q4_K_M or a type of weights such as Q8_0");
    }
    for (const SyntheticShape& shape : synthetic_shapes()) {
        if (shape.name == name) return make_file(shape, type, options);
    }
    return broken("its name, before a colon, is one of " + synthetic_names());
}

}  // namespace hearth::model
