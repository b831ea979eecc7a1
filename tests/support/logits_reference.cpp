#include "tests/support/logits_reference.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "tests/support/model_runner.h"

namespace hearth::test {
namespace {

constexpr std::int32_t kTokens[] = {32013,
                                    16648,
                                    17134,
                                    1458,
                                    1620,
                                    17620,
                                    17458,
                                    1134,
                                    648,
                                    16000,
                                    15190,
                                    30218,
                                    29084,
                                    11788,
                                    10330,
                                    24710};

std::filesystem::path folder(const std::string& source_dir) {
    return std::filesystem::path(source_dir) / ".." / "shared" / "data" / "logits";
}

std::vector<float> read_floats(const std::filesystem::path& path) {
    std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(float)));
    if (!file) throw std::runtime_error("cannot read " + path.string());
    return values;
}

}  // namespace

const std::vector<std::string>& logits_models() {
    static const std::vector<std::string> kNames = {"ds2-tiny-v3-Q8_0",
                                                    "ds2-tiny-mha-Q4_K_M",
                                                    "qwen3moe-tiny-Q4_K_M",
                                                    "qwen2-tiny-Q8_0",
                                                    "llama-tiny-Q4_K_M"};
    return kNames;
}

bool has_logits_reference(const std::string& source_dir) {
    if (std::filesystem::exists(folder(source_dir))) return true;
    std::cerr << "SKIPPED: no reference logits at " << folder(source_dir).string() << "\n";
    return false;
}

std::shared_ptr<const model::Model> logits_model(const std::string& source_dir,
                                                 const std::string& model_name) {
    auto model = model::load_model((folder(source_dir) / (model_name + ".gguf")).string());
    if (!model) throw std::runtime_error(model.error().text);
    return *std::move(model);
}

std::vector<double> distances_to_reference(const std::string& source_dir,
                                           const std::string& model_name,
                                           compute::Backend& backend) {
    const auto model = logits_model(source_dir, model_name);
    const auto expected = read_floats(folder(source_dir) / (model_name + ".logits.f32"));
    ModelRunner runner(model, backend, {});
    const auto logits =
        runner.run({{.sequence = 0, .tokens = {std::begin(kTokens), std::end(kTokens)}}});
    return relative_l2_rows(logits, expected, model->config().vocab_size);
}

}  // namespace hearth::test
