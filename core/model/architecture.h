// What the architecture files share: the list of them, the numbers of a file, and the Model that
// each of them completes with its recording of the Plan. Private to core/model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"
#include "core/model/model.h"
#include "core/model/weights.h"

namespace hearth::model {

/// The file behind a model that is being made.
using File = std::shared_ptr<const formats::GgufFile>;

/// Where a block for multi-token prediction comes from.
struct PredictionSource {
    File file;          ///< null: the model's own
    std::string fault;  ///< why the file that was named cannot be read, or empty
};

// One function per architecture file. Errors: those of make_model.
Result<std::shared_ptr<const Model>> make_deepseek2(const File& file,
                                                    const PredictionSource& source);
Result<std::shared_ptr<const Model>> make_qwen3moe(const File& file);
Result<std::shared_ptr<const Model>> make_granitemoe(const File& file);
Result<std::shared_ptr<const Model>> make_llama(const File& file);
Result<std::shared_ptr<const Model>> make_qwen2(const File& file);

/// No model is wider or has more of anything; a bound that keeps products of two far from overflow.
inline constexpr std::int64_t kCountMax = std::int64_t{1} << 24;

/// Reads the numbers `ARCHITECTURE.key` of a file. A number that is there but is no number of that
/// kind, or is out of its range, is an error; absence is one only where no fallback is given.
class Metadata {
  public:
    /// `file` outlives the reader.
    Metadata(const formats::GgufFile& file, const std::string& architecture)
        : file_(file),
          prefix_(architecture + ".") {}

    struct Range {
        std::int64_t min = 0;
        std::int64_t max = kCountMax;
    };
    /// Errors: corrupt, naming key, value and range.
    [[nodiscard]] Result<std::int64_t> count(std::string_view key,
                                             Range range,
                                             std::optional<std::int64_t> fallback = {}) const;
    [[nodiscard]] Result<double> real(std::string_view key,
                                      std::optional<double> fallback = {}) const;
    [[nodiscard]] Result<bool> flag(std::string_view key, bool fallback) const;
    [[nodiscard]] Result<std::string> text(std::string_view key, const std::string& fallback) const;

    /// What every architecture has. `vocab_size` comes from the embedding table.
    [[nodiscard]] Result<ModelConfig> config() const;

  private:
    [[nodiscard]] Failure broken(std::string_view key, const std::string& why) const;

    const formats::GgufFile& file_;
    std::string prefix_;
};

/// A Model but for its Plan.
class LoadedModel : public Model {
  public:
    [[nodiscard]] const ModelConfig& config() const final { return config_; }
    [[nodiscard]] std::span<const compute::Tensor> weights() const final {
        return weights_.tensors();
    }
    [[nodiscard]] const formats::GgufFile& file() const final { return *file_; }

  protected:
    LoadedModel(File file, ModelConfig config, Weights weights)
        : file_(std::move(file)),
          config_(std::move(config)),
          weights_(std::move(weights)) {}

  private:
    File file_;
    ModelConfig config_;
    Weights weights_;
};

}  // namespace hearth::model
