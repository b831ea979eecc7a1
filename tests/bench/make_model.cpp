// Writes a synthetic model (core/model/synthetic.h) as a file that other engines read too, with the
// vocabulary of a real one, so that prompts have as many tokens as they would have there. Above the
// real words come made ones.
//
//   hearth-bench-model NAME:TYPE FILE VOCABULARY [prefix-first | suffix-first]
//
// VOCABULARY is a GGUF file. With an order the model is one to type into, asked as other models are
// or as hearth's own, and it says the made words alone, each followed by the next: no line feed and
// no special token ends an answer before it has as many tokens as were asked for, and nothing
// repeats that could be guessed from the text before.
#include <algorithm>
#include <array>
#include <cstring>
#include <iostream>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/compute/blocks.h"
#include "core/compute/half.h"
#include "core/formats/gguf_writer.h"
#include "core/model/synthetic.h"

namespace hearth {
namespace {

using compute::Dtype;
using formats::GgufFile;

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kKindsKey = "tokenizer.ggml.token_type";
constexpr std::int64_t kKindNormal = 1;
// So much louder, a word's own embedding is what is left of the sum of all layers.
constexpr float kLouder = 64.0F;

void add(formats::GgufWriter& writer, const std::string& key, const formats::GgufArray& array) {
    if (!array.strings.empty()) return writer.add_strings(key, array.strings);
    if (!array.reals.empty()) {
        return writer.add_f32s(key, {array.reals.begin(), array.reals.end()});
    }
    writer.add_i32s(key, {array.integers.begin(), array.integers.end()});
}

void add(formats::GgufWriter& writer, const GgufFile::Entry& entry) {
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

/// A mark and two letters or more: no rule of core/assist ends a line of them.
std::string made_word(std::size_t number) {
    constexpr std::string_view kMarks = ".;:,+-*/=<>&|!?%^~#@$";
    constexpr std::string_view kLetters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    std::string word(1, kMarks[number % kMarks.size()]);
    std::size_t rest = number / kMarks.size();
    while (rest > 0 || word.size() < 3) {
        word += kLetters[rest % kLetters.size()];
        rest /= kLetters.size();
    }
    return word;
}

/// The words that stand for hearth's own where a model is not asked as hearth's own are.
void rename_own(std::vector<std::string>& tokens) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kNames = {{
        {"<|explain|>", "<|im_start|>"},
        {"<|fix|>", "<|im_end|>"},
        {"<|bug|>", "<|unused|>"},
    }};
    for (std::string& token : tokens) {
        for (const auto& [own, other] : kNames) {
            if (token == own) token = other;
        }
    }
}

/// Returns how many of the words are real.
///
/// Errors: invalid_argument (no vocabulary, or one that is too large).
Result<std::size_t> add_vocabulary(formats::GgufWriter& writer,
                                   const GgufFile& source,
                                   std::size_t vocab_size,
                                   bool is_suffix_first) {
    const formats::GgufArray* const words = source.find_array(kTokensKey);
    const formats::GgufArray* const kinds = source.find_array(kKindsKey);
    if (words == nullptr || kinds == nullptr || words->strings.size() > vocab_size ||
        kinds->integers.size() != words->strings.size()) {
        return fail(ErrorCode::invalid_argument,
                    source.path() + " has no vocabulary of at most " + std::to_string(vocab_size) +
                        " words with their kinds; name another file, or a model with more words",
                    "bench model");
    }
    std::vector<std::string> tokens = words->strings;
    if (!is_suffix_first) rename_own(tokens);
    const std::unordered_set<std::string> taken(tokens.begin(), tokens.end());
    for (std::size_t number = 0; tokens.size() < vocab_size; ++number) {
        std::string word = made_word(number);
        if (!taken.contains(word)) tokens.push_back(std::move(word));
    }
    std::vector<std::int32_t> types(kinds->integers.begin(), kinds->integers.end());
    types.resize(vocab_size, kKindNormal);
    writer.add_strings(std::string(kTokensKey), tokens);
    writer.add_i32s(std::string(kKindsKey), types);
    for (const GgufFile::Entry& entry : source.metadata()) {
        const bool is_written = entry.key == kTokensKey || entry.key == kKindsKey;
        if (entry.key.starts_with("tokenizer.") && !is_written) add(writer, entry);
    }
    return words->strings.size();
}

template <typename Block, typename Change>
void change_blocks(std::span<std::byte> rows, const Change& change) {
    for (std::size_t at = 0; at < rows.size(); at += sizeof(Block)) {
        Block block{};
        std::memcpy(&block, rows.data() + at, sizeof(Block));
        change(block);
        std::memcpy(rows.data() + at, &block, sizeof(Block));
    }
}

/// Errors: unsupported (a type that a tied embedding of a synthetic model does not have).
Result<void> multiply(Dtype dtype, std::span<std::byte> rows, float factor) {
    const auto with_half = [factor](auto& block) {
        block.d = compute::float_to_half(compute::half_to_float(block.d) * factor);
    };
    switch (dtype) {
        case Dtype::f32:
            change_blocks<float>(rows, [factor](float& value) { value *= factor; });
            return {};
        case Dtype::q8_0:
            change_blocks<compute::BlockQ80>(rows, with_half);
            return {};
        case Dtype::q6_k:
            change_blocks<compute::BlockQ6K>(rows, with_half);
            return {};
        default:
            return fail(ErrorCode::unsupported,
                        "a model to type into is made of Q4_K_M, Q8_0 or F32",
                        "bench model");
    }
}

/// An embedding and a head, which takes the place of a tied one.
struct Words {
    std::vector<std::byte> embedding, head;
};

/// A made word's row of the head is the embedding of the word before it, a real word's is zero.
Result<Words> chain_words(const compute::Tensor& tied, std::size_t word_count) {
    Words words;
    words.embedding.assign(tied.bytes.begin(), tied.bytes.end());
    words.head = words.embedding;
    const auto row_bytes =
        static_cast<std::size_t>(compute::row_bytes(tied.dtype, tied.shape.dim(-1)));
    const std::size_t begin = word_count * row_bytes;
    std::copy(words.embedding.begin() + static_cast<std::ptrdiff_t>(begin),
              words.embedding.end() - static_cast<std::ptrdiff_t>(row_bytes),
              words.head.begin() + static_cast<std::ptrdiff_t>(begin + row_bytes));
    HEARTH_CHECK(multiply(tied.dtype, std::span(words.head).first(begin), 0.0F));
    HEARTH_CHECK(multiply(tied.dtype, words.embedding, kLouder));
    return words;
}

struct Options {
    std::string spec, path, vocabulary;
    std::string order;  ///< empty: not to type into
};

Result<void> write_model(const Options& options) {
    HEARTH_TRY(const auto vocabulary, GgufFile::load(options.vocabulary));
    HEARTH_TRY(const auto model, model::make_synthetic(options.spec));
    formats::GgufWriter writer;
    HEARTH_TRY(const std::string architecture, model->string("general.architecture"));
    for (const auto& entry : model->metadata()) {
        add(writer, entry);
    }
    // A file of this architecture without the key is taken for one of two known models.
    const std::string rank_key = architecture + ".attention.q_lora_rank";
    if (architecture == "deepseek2" && model->find(rank_key) == nullptr) {
        writer.add_u32(rank_key, 0);
    }
    HEARTH_TRY(const std::int64_t vocab_size, model->integer(architecture + ".vocab_size"));
    HEARTH_TRY(const std::size_t word_count,
               add_vocabulary(writer,
                              *vocabulary,
                              static_cast<std::size_t>(vocab_size),
                              options.order == "suffix-first"));
    const compute::Tensor& embedding = *model->find_tensor("token_embd.weight");
    Words words;
    if (!options.order.empty()) {
        if (model->find_tensor("output.weight") != nullptr) {
            return fail(ErrorCode::unsupported,
                        "a model to type into is made of one with a tied head, as ds2-small",
                        "bench model");
        }
        HEARTH_TRY(words, chain_words(embedding, word_count));
        writer.add_tensor("output.weight", embedding.dtype, embedding.shape, words.head);
    }
    for (const compute::Tensor& tensor : model->tensors()) {
        const bool is_chained = !options.order.empty() && tensor.name == embedding.name;
        const std::span<const std::byte> bytes =
            is_chained ? std::span<const std::byte>(words.embedding) : tensor.bytes;
        writer.add_tensor(tensor.name, tensor.dtype, tensor.shape, bytes);
    }
    return writer.write(options.path);
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    const std::string order = argc == 5 ? argv[4] : "";
    const bool is_order = order.empty() || order == "prefix-first" || order == "suffix-first";
    if (argc < 4 || argc > 5 || !is_order) {
        std::cerr << "usage: hearth-bench-model NAME:TYPE FILE VOCABULARY [prefix-first | "
                     "suffix-first]; names: "
                  << hearth::model::synthetic_names() << '\n';
        return 2;
    }
    const auto written = hearth::write_model(
        {.spec = argv[1], .path = argv[2], .vocabulary = argv[3], .order = order});
    if (written) return 0;
    std::cerr << "hearth-bench-model: " << written.error().text << '\n';
    return 1;
}
