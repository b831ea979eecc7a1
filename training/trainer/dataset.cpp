#include "training/trainer/dataset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <system_error>

#include "core/base/assert.h"

namespace hearth::trainer {
namespace {

constexpr std::size_t kCountedTokensMax = 4'000'000;

}  // namespace

std::vector<std::string> shard_paths(const std::string& folder, const std::string& prefix) {
    std::vector<std::string> paths;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        if (name.rfind(prefix, 0) == 0 && entry.path().extension() == ".bin")
            paths.push_back(entry.path().string());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

Result<TokenShards> TokenShards::load(const std::string& folder,
                                      const std::string& prefix,
                                      std::size_t vocab_size) {
    std::vector<std::uint16_t> tokens;
    for (const std::string& path : shard_paths(folder, prefix)) {
        std::ifstream file(path, std::ios::binary | std::ios::ate);
        const std::streamoff bytes = file ? static_cast<std::streamoff>(file.tellg()) : -1;
        if (bytes < 0) return fail(ErrorCode::io, "cannot open shard " + path, "trainer");
        if (bytes % 2 != 0)
            return fail(ErrorCode::corrupt,
                        "shard " + path + " has an odd number of bytes; ids take two each",
                        "trainer");
        const std::size_t before = tokens.size();
        tokens.resize(before + static_cast<std::size_t>(bytes) / 2);
        file.seekg(0);
        file.read(reinterpret_cast<char*>(tokens.data() + before), bytes);
        if (!file) return fail(ErrorCode::io, "cannot read shard " + path, "trainer");
        const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(before);
        const auto largest = std::max_element(first, tokens.end());
        if (largest != tokens.end() && *largest >= vocab_size)
            return fail(ErrorCode::corrupt,
                        "shard " + path + " holds id " + std::to_string(*largest) +
                            ", but the vocabulary ends at " + std::to_string(vocab_size),
                        "trainer");
    }
    return TokenShards(std::move(tokens));
}

std::size_t TokenShards::window_count(std::size_t length) const {
    return tokens_.empty() ? 0 : (tokens_.size() - 1) / length;
}

void BatchBuffer::clear() {
    inputs.clear();
    targets.clear();
    window_count = 0;
}

void BatchBuffer::append(const TokenShards& shards, std::size_t index) {
    const auto window = shards.tokens().subspan(index * length, length + 1);
    inputs.insert(inputs.end(), window.begin(), window.end() - 1);
    targets.insert(targets.end(), window.begin() + 1, window.end());
    ++window_count;
}

std::size_t walk_window(std::size_t step, std::size_t window_count) {
    HEARTH_ASSERT(window_count > 0);
    // A stride near the golden section, made coprime to the count, visits every window once.
    auto stride = static_cast<std::size_t>(0.6180339887 * static_cast<double>(window_count)) + 1;
    while (std::gcd(stride, window_count) != 1) {
        ++stride;
    }
    const std::size_t pass = step / window_count;
    return (step % window_count * stride + pass * 7) % window_count;
}

CandidateSampler::CandidateSampler(const TokenShards& shards,
                                   std::size_t vocab_size,
                                   std::size_t frequent,
                                   std::size_t sampled)
    : by_frequency_(vocab_size),
      frequent_(std::min(frequent, vocab_size)),
      sampled_(sampled) {
    std::vector<std::size_t> counts(vocab_size, 0);
    const auto tokens = shards.tokens();
    const std::size_t step = tokens.size() / kCountedTokensMax + 1;
    for (std::size_t i = 0; i < tokens.size(); i += step) {
        ++counts[tokens[i]];
    }
    std::iota(by_frequency_.begin(), by_frequency_.end(), 0U);
    std::stable_sort(by_frequency_.begin(),
                     by_frequency_.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return counts[a] > counts[b]; });
}

void CandidateSampler::draw(std::span<const std::int32_t> targets,
                            std::uint64_t seed,
                            HeadCandidates& out) const {
    constexpr std::uint32_t kAbsent = 0xFFFFFFFFU;
    out.tokens.assign(by_frequency_.begin(),
                      by_frequency_.begin() + static_cast<std::ptrdiff_t>(frequent_));
    out.index_of.assign(by_frequency_.size(), kAbsent);
    for (std::uint32_t i = 0; i < out.tokens.size(); ++i) {
        out.index_of[out.tokens[i]] = i;
    }
    const auto add = [&](std::uint32_t token) {
        out.index_of[token] = static_cast<std::uint32_t>(out.tokens.size());
        out.tokens.push_back(token);
    };
    for (const std::int32_t target : targets) {
        const auto token = static_cast<std::uint32_t>(target);
        if (out.index_of[token] == kAbsent) add(token);
    }
    out.correction.assign(out.tokens.size(), 0.0F);
    std::vector<std::uint32_t> rest;
    for (const std::uint32_t token : by_frequency_) {
        if (out.index_of[token] == kAbsent) rest.push_back(token);
    }
    const std::size_t take = std::min(sampled_, rest.size());
    if (take == 0) return;
    std::mt19937_64 random(seed);
    const float correction = std::log(static_cast<float>(rest.size()) / static_cast<float>(take));
    for (std::size_t i = 0; i < take; ++i) {
        std::uniform_int_distribution<std::size_t> pick(i, rest.size() - 1);
        std::swap(rest[i], rest[pick(random)]);
        add(rest[i]);
    }
    out.correction.resize(out.tokens.size(), correction);
}

}  // namespace hearth::trainer
