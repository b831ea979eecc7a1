// hearth-train-tokenizer CORPUS.PACK TOKENIZER_FILE [VOCABULARY_SIZE]: learns a byte-level BPE
// vocabulary from the training split and prints bytes per token of the held-out split.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "training/corpus/corpus_pack.h"
#include "training/tokenizer/bpe_trainer.h"
#include "training/tokenizer/encoder.h"

namespace {

using namespace hearth;            // NOLINT(google-build-using-namespace): a program's own file
using namespace hearth::training;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kVocabSize = 16384;

void print_compression(const std::vector<CorpusFile>& files, const TokenizerFile& tokenizer) {
    Encoder encoder(tokenizer);
    std::map<std::string, std::pair<double, double>> totals;
    for (const CorpusFile& file : files) {
        if (!file.is_heldout) continue;
        auto& [bytes, tokens] = totals[file.language];
        bytes += static_cast<double>(file.text.size());
        tokens += static_cast<double>(encoder.encode(file.text).size());
    }
    for (const auto& [language, total] : totals) {
        std::printf(
            "%s: %.2f bytes per token held out\n", language.c_str(), total.first / total.second);
    }
}

Result<void> run(const std::string& corpus, const std::string& output, std::size_t vocab_size) {
    HEARTH_TRY(const std::vector<CorpusFile> files, load_corpus_pack(corpus));
    WordCounts counts;
    for (const CorpusFile& file : files) {
        if (!file.is_heldout) count_words(file.text, counts);
    }
    std::printf("%zu different words in %zu files\n", counts.size(), files.size());
    const std::vector<std::string> specials = hearth_special_names();
    HEARTH_TRY(
        const TokenizerFile tokenizer,
        TokenizerFile::make("qwen2", train_merges(counts, vocab_size - specials.size()), specials));
    std::ofstream stream(output, std::ios::binary);
    tokenizer.write(stream);
    if (!stream.flush()) {
        return fail(ErrorCode::io, "cannot write " + output, "train-tokenizer");
    }
    std::printf("%zu tokens, %zu merges\n", tokenizer.vocab_size(), tokenizer.merges().size());
    print_compression(files, tokenizer);
    return {};
}

}  // namespace

int main(int argument_count, char** arguments) {
    const std::size_t vocab_size =
        argument_count == 4 ? std::strtoul(arguments[3], nullptr, 10) : kVocabSize;
    if (argument_count < 3 || argument_count > 4 || vocab_size < 512 || vocab_size > 65536) {
        std::fputs(
            "usage: hearth-train-tokenizer CORPUS.PACK TOKENIZER_FILE [VOCABULARY_SIZE]\n"
            "The size is 512 to 65536, special tokens included; 16384 if not given.\n",
            stderr);
        return 2;
    }
    if (const Result<void> done = run(arguments[1], arguments[2], vocab_size); !done) {
        std::fprintf(stderr, "hearth-train-tokenizer: %s\n", done.error().text.c_str());
        return 1;
    }
    return 0;
}
