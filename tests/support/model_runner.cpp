#include "tests/support/model_runner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>
#include <utility>
#include <variant>

namespace hearth::test {
namespace {

template <typename T>
T require(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text);
    return std::move(result).value();
}

std::vector<std::int32_t> all_rows(const std::vector<ModelRunner::Piece>& pieces) {
    std::size_t count = 0;
    for (const ModelRunner::Piece& piece : pieces) {
        count += piece.tokens.size();
    }
    std::vector<std::int32_t> rows(count);
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
}

}  // namespace

ModelRunner::ModelRunner(std::shared_ptr<const model::Model> model,
                         compute::Backend& backend,
                         const Limits& limits,
                         std::span<const compute::HostExperts> host_experts)
    : model_(std::move(model)) {
    compute::Plan plan = model_->plan(limits.tokens_max);
    plan.kv.dtype = limits.cache_type;
    if (auto sound = validate(plan, model_->weights()); !sound) {
        throw std::runtime_error(sound.error().text);
    }
    weights_ =
        require(host_experts.empty() ? backend.upload(model_->weights())
                                     : backend.upload_partly(model_->weights(), host_experts));
    program_ = require(backend.compile(plan, *weights_));
    const std::int32_t blocks_each =
        (limits.sequence_tokens_max + compute::kBlockTokens - 1) / compute::kBlockTokens;
    const std::int32_t block_count = blocks_each * limits.sequence_count;
    kv_ = require(backend.make_kv_store(plan.kv, block_count));
    lengths_.assign(static_cast<std::size_t>(limits.sequence_count), 0);
    block_tables_.resize(lengths_.size());
    // Dealt like cards, from the end: no table is in order or in one piece.
    for (std::int32_t block = block_count - 1; block >= 0; --block) {
        block_tables_[static_cast<std::size_t>(block % limits.sequence_count)].push_back(block);
    }
}

std::vector<float> ModelRunner::run(const std::vector<Piece>& pieces) {
    return run_rows(pieces, all_rows(pieces));
}

std::vector<float> ModelRunner::run_last(const std::vector<Piece>& pieces) {
    std::vector<std::int32_t> rows;
    std::int32_t end = 0;
    for (const Piece& piece : pieces) {
        end += static_cast<std::int32_t>(piece.tokens.size());
        rows.push_back(end - 1);
    }
    return run_rows(pieces, rows);
}

std::vector<float> ModelRunner::run_rows(const std::vector<Piece>& pieces,
                                         std::span<const std::int32_t> logit_rows) {
    const auto output = require(run_step(pieces, logit_rows, nullptr));
    return {output.logits.begin(), output.logits.end()};
}

bool ModelRunner::gives_up(const std::vector<Piece>& pieces, const compute::StepWatch& watch) {
    const std::vector<std::int32_t> lengths = lengths_;
    const auto output = run_step(pieces, all_rows(pieces), &watch);
    lengths_ = lengths;
    if (!output && output.error().code != ErrorCode::cancelled) {
        throw std::runtime_error(output.error().text);
    }
    return !output;
}

Result<compute::StepOutput> ModelRunner::run_step(const std::vector<Piece>& pieces,
                                                  std::span<const std::int32_t> logit_rows,
                                                  const compute::StepWatch* watch) {
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> sequence_of;
    std::vector<compute::SequenceView> sequences;
    for (const Piece& piece : pieces) {
        std::int32_t& length = lengths_.at(static_cast<std::size_t>(piece.sequence));
        for (const std::int32_t token : piece.tokens) {
            tokens.push_back(token);
            positions.push_back(length++);
            sequence_of.push_back(static_cast<std::int32_t>(sequences.size()));
        }
        sequences.push_back(
            {block_tables_.at(static_cast<std::size_t>(piece.sequence)), piece.prompt_tokens});
    }
    return program_->run({.tokens = tokens,
                          .positions = positions,
                          .sequence_of = sequence_of,
                          .sequences = sequences,
                          .logit_rows = logit_rows,
                          .watch = watch},
                         *kv_);
}

std::vector<float> ModelRunner::run_chunks(std::span<const std::int32_t> tokens,
                                           std::size_t chunk) {
    std::vector<float> logits;
    for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const auto part = tokens.subspan(begin, std::min(chunk, tokens.size() - begin));
        const auto rows = run({{.sequence = 0,
                                .tokens = {part.begin(), part.end()},
                                .prompt_tokens = static_cast<std::int32_t>(tokens.size())}});
        logits.insert(logits.end(), rows.begin(), rows.end());
    }
    return logits;
}

std::vector<compute::HostExperts> host_experts_of(const model::Model& model,
                                                  std::int32_t slot_count) {
    std::vector<compute::HostExperts> layers;
    for (const compute::Operation& operation : model.plan(1).operations) {
        const auto* op = std::get_if<compute::Experts>(&operation);
        if (op != nullptr) layers.push_back({op->gate, op->up, op->down, slot_count});
    }
    return layers;
}

double relative_l2(std::span<const float> a, std::span<const float> b) {
    double difference = 0.0;
    double size = 0.0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        const auto x = static_cast<double>(a[i]);
        const auto y = static_cast<double>(b[i]);
        difference += (x - y) * (x - y);
        size += y * y;
    }
    return std::sqrt(difference / size);
}

std::vector<double> relative_l2_rows(std::span<const float> a,
                                     std::span<const float> b,
                                     std::int64_t vocab_size) {
    if (a.size() != b.size()) throw std::runtime_error("logits of different sizes");
    const auto row = static_cast<std::size_t>(vocab_size);
    std::vector<double> distances;
    for (std::size_t begin = 0; begin < b.size(); begin += row) {
        distances.push_back(relative_l2(a.subspan(begin, row), b.subspan(begin, row)));
    }
    return distances;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
}

double distance_apart(const std::shared_ptr<const model::Model>& model,
                      compute::Backend& found,
                      compute::Backend& expected,
                      compute::Dtype cache_type) {
    constexpr std::int32_t kSequences = 8;
    constexpr std::size_t kTokens = 5;
    const std::int32_t vocab_size = model->config().vocab_size;
    const ModelRunner::Limits limits{.sequence_count = kSequences, .cache_type = cache_type};
    ModelRunner found_runner(model, found, limits);
    ModelRunner expected_runner(model, expected, limits);
    std::mt19937 random(7);
    std::vector<double> distances;
    for (std::int32_t sequence = 0; sequence < kSequences; ++sequence) {
        std::vector<std::int32_t> tokens(kTokens);
        for (std::int32_t& token : tokens) {
            token = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab_size));
        }
        const auto rows = relative_l2_rows(found_runner.run({{sequence, tokens}}),
                                           expected_runner.run({{sequence, tokens}}),
                                           vocab_size);
        distances.insert(distances.end(), rows.begin(), rows.end());
    }
    return median(std::move(distances));
}

}  // namespace hearth::test
