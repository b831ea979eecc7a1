// Metadata: the numbers of a file, each checked where it is read.
#include <cmath>
#include <limits>

#include "core/model/architecture.h"

namespace hearth::model {

Failure Metadata::broken(std::string_view key, const std::string& why) const {
    return fail(ErrorCode::corrupt,
                "metadata " + prefix_ + std::string(key) + " of " + file_.path() + " " + why,
                "model");
}

Result<std::int64_t> Metadata::count(std::string_view key,
                                     Range range,
                                     std::optional<std::int64_t> fallback) const {
    const std::string name = prefix_ + std::string(key);
    if (file_.find(name) == nullptr) {
        if (fallback) return *fallback;
        return broken(key, "is missing");
    }
    const auto value = file_.find_integer(name);
    if (!value) return broken(key, "is not one whole number");
    if (*value < range.min || *value > range.max) {
        return broken(key,
                      "is " + std::to_string(*value) + ", outside " + std::to_string(range.min) +
                          " to " + std::to_string(range.max));
    }
    return *value;
}

Result<double> Metadata::real(std::string_view key, std::optional<double> fallback) const {
    const std::string name = prefix_ + std::string(key);
    if (file_.find(name) == nullptr) {
        if (fallback) return *fallback;
        return broken(key, "is missing");
    }
    const auto value = file_.find_real(name);
    if (!value || !std::isfinite(*value)) return broken(key, "is not a finite number");
    return *value;
}

Result<bool> Metadata::flag(std::string_view key, bool fallback) const {
    const std::string name = prefix_ + std::string(key);
    if (file_.find(name) == nullptr) return fallback;
    const auto value = file_.find_bool(name);
    if (!value) return broken(key, "is not true or false");
    return *value;
}

Result<std::string> Metadata::text(std::string_view key, const std::string& fallback) const {
    const std::string name = prefix_ + std::string(key);
    if (file_.find(name) == nullptr) return fallback;
    const std::string* value = file_.find_string(name);
    if (value == nullptr) return broken(key, "is not text");
    return *value;
}

Result<ModelConfig> Metadata::config() const {
    ModelConfig config;
    config.architecture = prefix_.substr(0, prefix_.size() - 1);
    const std::string* name = file_.find_string("general.name");
    config.name = name != nullptr ? *name : file_.path().substr(file_.path().rfind('/') + 1);

    const auto read = [this](std::string_view key,
                             std::int32_t& into,
                             Range range,
                             std::optional<std::int64_t> fallback = {}) -> Result<void> {
        HEARTH_TRY(const std::int64_t value, count(key, range, fallback));
        into = static_cast<std::int32_t>(value);
        return {};
    };
    HEARTH_CHECK(read("block_count", config.layer_count, {1, 1024}));
    HEARTH_CHECK(read(
        "context_length", config.context_length, {1, std::numeric_limits<std::int32_t>::max()}));
    HEARTH_CHECK(read("attention.head_count", config.head_count, {1, 4096}));
    HEARTH_CHECK(
        read("attention.head_count_kv", config.kv_head_count, {1, 4096}, config.head_count));
    HEARTH_CHECK(read("expert_count", config.expert_count, {0, 4096}, 0));
    HEARTH_CHECK(read("expert_used_count", config.experts_per_token, {0, 4096}, 0));
    HEARTH_TRY(config.hidden_dim, count("embedding_length", {1}));
    HEARTH_TRY(const double epsilon, real("attention.layer_norm_rms_epsilon"));
    config.norm_epsilon = static_cast<float>(epsilon);

    const compute::Tensor* table = file_.find_tensor("token_embd.weight");
    if (table == nullptr || table->shape.count != 2 || table->shape.dim(0) > kCountMax) {
        return fail(ErrorCode::corrupt,
                    file_.path() + " has no embedding table token_embd.weight of two axes",
                    "model");
    }
    config.vocab_size = static_cast<std::int32_t>(table->shape.dim(0));
    HEARTH_CHECK(config.validate());
    return config;
}

}  // namespace hearth::model
