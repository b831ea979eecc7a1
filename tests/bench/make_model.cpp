// Writes a synthetic model (core/model/synthetic.h) as a file that other engines read too: with a
// vocabulary of bytes, a few merges and names without meaning.
//
//   hearth-bench-model NAME:TYPE FILE
#include <iostream>
#include <string>

#include "core/formats/gguf_writer.h"
#include "core/model/synthetic.h"
#include "tests/support/tiny_vocabulary.h"

namespace hearth {
namespace {

void add(formats::GgufWriter& writer, const std::string& key, const formats::GgufArray& array) {
    if (!array.strings.empty()) return writer.add_strings(key, array.strings);
    if (!array.reals.empty()) {
        return writer.add_f32s(key, {array.reals.begin(), array.reals.end()});
    }
    writer.add_i32s(key, {array.integers.begin(), array.integers.end()});
}

void add(formats::GgufWriter& writer, const formats::GgufFile::Entry& entry) {
    struct Visitor {
        formats::GgufWriter& writer;
        const std::string& key;
        void operator()(bool value) const { writer.add_bool(key, value); }
        void operator()(std::int64_t value) const {
            writer.add_u32(key, static_cast<std::uint32_t>(value));
        }
        void operator()(std::uint64_t value) const {
            writer.add_u32(key, static_cast<std::uint32_t>(value));
        }
        void operator()(double value) const { writer.add_f32(key, static_cast<float>(value)); }
        void operator()(const std::string& value) const { writer.add_string(key, value); }
        void operator()(const std::shared_ptr<const formats::GgufArray>& value) const {
            add(writer, key, *value);
        }
    };
    std::visit(Visitor{writer, entry.key}, entry.value);
}

Result<void> write_model(const std::string& spec, const std::string& path) {
    HEARTH_TRY(const auto model, model::make_synthetic(spec));
    formats::GgufWriter writer;
    std::string prefix;
    for (const auto& entry : model->metadata()) {
        if (entry.key == "general.architecture") prefix = std::get<std::string>(entry.value) + ".";
        add(writer, entry);
    }
    // A file of this architecture without the key is taken for one of two known models.
    if (prefix == "deepseek2." && model->find(prefix + "attention.q_lora_rank") == nullptr) {
        writer.add_u32(prefix + "attention.q_lora_rank", 0);
    }
    test::TinyVocabulary vocabulary = test::make_tiny_vocabulary();
    HEARTH_TRY(const std::int64_t vocab_size, model->integer(prefix + "vocab_size"));
    while (vocabulary.tokens.size() < static_cast<std::size_t>(vocab_size)) {
        vocabulary.tokens.push_back("[" + std::to_string(vocabulary.tokens.size()) + "]");
        vocabulary.types.push_back(1);
    }
    test::add_tokenizer(writer, vocabulary, "qwen2");
    for (const compute::Tensor& tensor : model->tensors()) {
        writer.add_tensor(tensor.name, tensor.dtype, tensor.shape, tensor.bytes);
    }
    return writer.write(path);
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: hearth-bench-model NAME:TYPE FILE; names: "
                  << hearth::model::synthetic_names() << '\n';
        return 2;
    }
    const auto written = hearth::write_model(argv[1], argv[2]);
    if (written) return 0;
    std::cerr << "hearth-bench-model: " << written.error().text << '\n';
    return 1;
}
