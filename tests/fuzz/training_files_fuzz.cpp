// Any bytes as one of the files that training reads: a checkpoint, a tokenizer, a corpus. What is
// accepted is written and read as the same.
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_file.h"
#include "tests/support/temporary_folder.h"
#include "training/corpus/corpus_pack.h"
#include "training/tokenizer/tokenizer_file.h"
#include "training/trainer/checkpoint.h"
#include "training/trainer/parameters.h"

namespace {

using namespace hearth;

std::string write(const training::TokenizerFile& file) {
    std::ostringstream stream;
    file.write(stream);
    return stream.str();
}

void check_tokenizer(std::string_view bytes) {
    std::istringstream stream{std::string(bytes)};
    const auto file = training::TokenizerFile::parse(stream);
    if (!file) {
        HEARTH_ASSERT(!file.error().text.empty());
        return;
    }
    HEARTH_ASSERT(file->vocab_size() >= 256 && file->vocab_size() <= 65536);
    HEARTH_ASSERT(file->gguf_tokens().size() == file->vocab_size());
    const std::string written = write(*file);
    std::istringstream again{written};
    const auto same = training::TokenizerFile::parse(again);
    HEARTH_ASSERT(same.has_value() && write(*same) == written);
}

void check_corpus(std::string_view bytes) {
    const auto files = training::parse_corpus_pack(bytes);
    if (!files) {
        HEARTH_ASSERT(!files.error().text.empty());
        return;
    }
    std::size_t text_bytes = 0;
    for (const training::CorpusFile& file : *files) {
        text_bytes += file.text.size();
    }
    HEARTH_ASSERT(text_bytes <= bytes.size());
}

void check_checkpoint(std::string_view bytes) {
    const fuzz::MemoryFile file(bytes);
    if (const auto block = trainer::load_mtp_checkpoint(file.path())) {
        HEARTH_ASSERT(block->weights.size() ==
                      trainer::ParameterLayout::make_mtp(block->shape).elements);
    }
    const auto state = trainer::load_checkpoint(file.path());
    if (!state) {
        HEARTH_ASSERT(!state.error().text.empty());
        return;
    }
    const trainer::ParameterLayout layout(state->shape);
    HEARTH_ASSERT(state->weights.size() == layout.elements);
    HEARTH_ASSERT(state->moments.first.size() == layout.elements);
    HEARTH_ASSERT(state->moments.second.size() == layout.elements);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes = fuzz::to_text(data + 1, size - 1);
    switch (data[0]) {
        case 'c':
            check_checkpoint(bytes);
            break;
        case 't':
            check_tokenizer(bytes);
            break;
        default:
            check_corpus(bytes);
            break;
    }
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    trainer::ModelShape shape;
    shape.vocab_size = 3;
    shape.hidden_dim = shape.layer_count = shape.head_count = shape.nope_dim = 1;
    shape.rope_dim = 2;
    shape.value_dim = shape.query_rank = shape.latent_rank = shape.dense_layer_count = 1;
    shape.dense_ffn_dim = 1;
    const auto file = training::TokenizerFile::make(
        "qwen2", {{'a', 'b'}, {256, 'c'}, {' ', 256}}, {"<|endoftext|>", "<|fim_prefix|>"});
    std::vector<std::string> seeds = {
        "t" + write(*file),
        "ptrain\tc\tzlib\tinflate.c\t6\nint x\n\nheldout\tgo\tp\ta/b.go\t0\n\n",
    };
    for (const bool has_experts : {false, true}) {
        if (has_experts) {
            shape.dense_layer_count = 0;
            shape.expert_count = 2;
            shape.experts_per_token = shape.expert_ffn_dim = 1;
        }
        const test::TemporaryFolder folder;
        const std::string path = folder.file("checkpoint");
        HEARTH_ASSERT(trainer::save_checkpoint(trainer::make_state(shape, 1), path).has_value());
        std::ifstream stream(path, std::ios::binary);
        seeds.push_back("c" + std::string(std::istreambuf_iterator<char>(stream), {}));
    }
    // A block for multi-token prediction: the same header but for the mark and the count at its
    // end.
    constexpr std::size_t kHeaderBytes = 184;
    std::string block = seeds.back().substr(0, 1 + kHeaderBytes);
    const std::uint64_t elements = trainer::ParameterLayout::make_mtp(shape).elements;
    block.replace(1, 8, "hrhmtp01");
    block.replace(1 + kHeaderBytes - 8, 8, reinterpret_cast<const char*>(&elements), 8);
    block.append(elements * sizeof(float), '\0');
    const fuzz::MemoryFile block_file(std::string_view(block).substr(1));
    HEARTH_ASSERT(trainer::load_mtp_checkpoint(block_file.path()).has_value());
    seeds.push_back(block);
    return seeds;
}
