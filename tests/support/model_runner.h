// Runs a model on a backend without an engine: tokens in, logits out. Each sequence has a block
// table of its own whose blocks are scattered over the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/model/model.h"

namespace hearth::test {

class ModelRunner {
  public:
    struct Limits {
        std::int32_t tokens_max = 64;  ///< per step
        std::int32_t sequence_count = 1;
        std::int32_t sequence_tokens_max = 64;
        compute::Dtype cache_type = compute::Dtype::f16;
    };

    /// Throws std::runtime_error with the error's text where anything fails. `backend` outlives it.
    ModelRunner(std::shared_ptr<const model::Model> model,
                compute::Backend& backend,
                const Limits& limits,
                std::span<const compute::HostExperts> host_experts = {});

    /// Some next tokens of one sequence.
    struct Piece {
        std::int32_t sequence = 0;
        std::vector<std::int32_t> tokens;
        std::int32_t prompt_tokens = 0;  ///< of the sequence, as SequenceView says
    };
    /// One step over all pieces (a sequence at most once). Logits of every token, in the order of
    /// the pieces: (tokens, vocab_size).
    std::vector<float> run(const std::vector<Piece>& pieces);
    /// The same, but only the logits of these of the step's tokens, ascending.
    std::vector<float> run_rows(const std::vector<Piece>& pieces,
                                std::span<const std::int32_t> logit_rows);
    /// The same, but only the logits of the last token of each piece.
    std::vector<float> run_last(const std::vector<Piece>& pieces);

    /// A step that `watch` ends early; the sequences stay as they were. False: it ran to its end.
    bool gives_up(const std::vector<Piece>& pieces, const compute::StepWatch& watch);

    /// The whole prompt in one sequence, `chunk` tokens a step.
    std::vector<float> run_chunks(std::span<const std::int32_t> tokens, std::size_t chunk);

    [[nodiscard]] compute::Program& program() { return *program_; }

  private:
    Result<compute::StepOutput> run_step(const std::vector<Piece>& pieces,
                                         std::span<const std::int32_t> logit_rows,
                                         const compute::StepWatch* watch);

    std::shared_ptr<const model::Model> model_;
    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> program_;
    std::unique_ptr<compute::KvStore> kv_;
    std::vector<std::vector<std::int32_t>> block_tables_;  ///< by sequence
    std::vector<std::int32_t> lengths_;                    ///< tokens so far, by sequence
};

/// All routed experts of the model on the host, with `slot_count` slots for each layer.
std::vector<compute::HostExperts> host_experts_of(const model::Model& model,
                                                  std::int32_t slot_count);

/// |a - b| / |b|.
double relative_l2(std::span<const float> a, std::span<const float> b);

/// The distance of each row of `vocab_size` logits.
std::vector<double> relative_l2_rows(std::span<const float> a,
                                     std::span<const float> b,
                                     std::int64_t vocab_size);

double median(std::vector<double> values);

/// The median distance of `found`'s logits over several short sequences of random tokens. Short,
/// because an activation near the middle of two steps may be rounded to the other one, and all
/// tokens behind it see that.
double distance_apart(const std::shared_ptr<const model::Model>& model,
                      compute::Backend& found,
                      compute::Backend& expected,
                      compute::Dtype cache_type = compute::Dtype::f16);

}  // namespace hearth::test
