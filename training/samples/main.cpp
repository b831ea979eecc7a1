// hearth-make-samples CORPUS.PACK TOKENIZER_FILE FOLDER [SEED]: writes token shards for training,
// for the decay phase and for held-out loss, and evaluation cases. training/README.md says what is
// in them.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "training/corpus/corpus_pack.h"
#include "training/samples/block_packer.h"
#include "training/samples/code_pieces.h"
#include "training/samples/eval_cases.h"
#include "training/samples/explain_pairs.h"
#include "training/samples/fix_pairs.h"
#include "training/samples/formats.h"

namespace {

using namespace hearth;            // NOLINT(google-build-using-namespace): a program's own file
using namespace hearth::training;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kWindow = 512;
constexpr std::size_t kShardTokens = 4096 * kWindow;
constexpr double kDecayShare = 0.15;    // of all training tokens
constexpr double kExplainShare = 0.15;  // of the decay phase
constexpr double kFixShare = 0.15;
constexpr std::size_t kExplainTokensMax = 320;
constexpr std::size_t kHeldoutBlocksMax = 400;  // per language
constexpr std::size_t kCasesPerLanguage = 50;

/// One program run: what is read, and the folder it writes to.
class SampleMaker {
  public:
    SampleMaker(const std::vector<CorpusFile>& files,
                SampleFormats& formats,
                std::filesystem::path folder,
                std::uint64_t seed)
        : files_(files),
          formats_(formats),
          folder_(std::move(folder)),
          random_(seed),
          pieces_(files, formats, kWindow) {}

    Result<void> run() {
        std::vector<CodePiece> pieces = pieces_.cut(false);
        if (pieces.empty()) {
            return fail(ErrorCode::invalid_argument, "the corpus has no training files", "samples");
        }
        random_.shuffle(pieces);
        const double code_share = 1 - kExplainShare - kFixShare;
        const double decay_code = kDecayShare * code_share;
        const auto decay_pieces = static_cast<std::size_t>(
            static_cast<double>(pieces.size()) * decay_code / (1 - kDecayShare + decay_code));
        const auto middle = pieces.end() - static_cast<std::ptrdiff_t>(decay_pieces);
        all_pieces_ = pieces;
        HEARTH_CHECK(write_training({pieces.begin(), middle}));
        HEARTH_CHECK(write_decay({middle, pieces.end()}));
        HEARTH_CHECK(write_heldout());
        HEARTH_CHECK(write_cases());
        return write_index();
    }

  private:
    BlockPacker make_packer() {
        return {kWindow, formats_.padding(), [this](std::size_t tokens_max) {
                    return pieces_.render_plain(random_.pick(all_pieces_), tokens_max);
                }};
    }

    Result<void> write_training(const std::vector<CodePiece>& pieces) {
        BlockPacker packer = make_packer();
        std::size_t shard = 0;
        for (const CodePiece& piece : pieces) {
            packer.add(pieces_.render(piece, random_));
            if (packer.ready_tokens() >= kShardTokens) {
                HEARTH_CHECK(write_shard("train", shard++, packer.take()));
            }
        }
        packer.flush();
        return write_shard("train", shard, packer.take());
    }

    Result<void> write_decay(const std::vector<CodePiece>& pieces) {
        std::map<std::string, std::vector<Tokens>> explain_of_language = explain_samples();
        std::map<std::string, std::vector<Tokens>>::iterator language = explain_of_language.begin();
        BlockPacker packer = make_packer();
        std::size_t shard = 0;
        double code = 0;
        double explain = 0;
        double fix = 0;
        for (const CodePiece& piece : pieces) {
            const Tokens tokens = pieces_.render(piece, random_);
            code += static_cast<double>(tokens.size());
            packer.add(tokens);
            const double all = code / (1 - kExplainShare - kFixShare);
            while (explain < all * kExplainShare && !explain_of_language.empty()) {
                if (language == explain_of_language.end()) language = explain_of_language.begin();
                explain += static_cast<double>(language->second.back().size());
                packer.add(std::move(language->second.back()));
                language->second.pop_back();
                language = language->second.empty() ? explain_of_language.erase(language)
                                                    : std::next(language);
            }
            while (fix < all * kFixShare) {
                const Tokens sample = fix_sample();
                fix += static_cast<double>(sample.size());
                packer.add(sample);
            }
            if (packer.ready_tokens() >= kShardTokens) {
                HEARTH_CHECK(write_shard("decay", shard++, packer.take()));
            }
        }
        packer.flush();
        std::printf("decay: %.0f code, %.0f explain, %.0f fix tokens\n", code, explain, fix);
        return write_shard("decay", shard, packer.take());
    }

    /// Shuffled, by language.
    std::map<std::string, std::vector<Tokens>> explain_samples() {
        std::map<std::string, std::vector<Tokens>> samples;
        for (const CorpusFile& file : files_) {
            if (file.is_heldout) continue;
            for (const ExplainPair& pair : find_explain_pairs(file)) {
                Tokens tokens =
                    formats_.explain(file.path, pair.code, pair.sentence, kExplainTokensMax);
                if (!tokens.empty()) samples[file.language].push_back(std::move(tokens));
            }
        }
        for (auto& [language, tokens] : samples) {
            std::printf("%s: %zu explain pairs\n", language.c_str(), tokens.size());
            random_.shuffle(tokens);
        }
        return samples;
    }

    /// A fix sample from a file that is picked by the size of its text.
    Tokens fix_sample() {
        for (;;) {
            const Mutation mutation = pick_mutation(random_);
            // Some mutations need luck to find a place; each kind gets its share all the same.
            for (int i = 0; i < 100; ++i) {
                const CorpusFile& file = files_[random_.pick(all_pieces_).file_index];
                const auto pair = make_fix_pair(file.text, mutation, random_);
                if (!pair) continue;
                Tokens tokens = formats_.fix({.path = file.path,
                                              .before = pair->before,
                                              .bad_line = pair->bad_line,
                                              .after = pair->after,
                                              .good_line = pair->good_line},
                                             kWindow);
                if (!tokens.empty()) return tokens;
            }
        }
    }

    Result<void> write_heldout() {
        std::map<std::string, std::vector<CodePiece>> by_language;
        for (const CodePiece& piece : pieces_.cut(true)) {
            by_language[files_[piece.file_index].language].push_back(piece);
        }
        for (auto& [language, pieces] : by_language) {
            random_.shuffle(pieces);
            // Whole windows only: nothing is filled up.
            Tokens tokens;
            for (const CodePiece& piece : pieces) {
                if (tokens.size() >= kHeldoutBlocksMax * kWindow) break;
                const Tokens sample = pieces_.render_plain(piece, kWindow);
                if (sample.size() == kWindow) {
                    tokens.insert(tokens.end(), sample.begin(), sample.end());
                }
            }
            HEARTH_CHECK(write_tokens("heldout-" + language + ".bin", tokens));
        }
        return {};
    }

    Result<void> write_cases() {
        std::map<std::string, std::vector<const CorpusFile*>> by_language;
        for (const CorpusFile& file : files_) {
            if (file.is_heldout) by_language[file.language].push_back(&file);
        }
        std::ofstream lines(folder_ / "eval-line.jsonl");
        std::ofstream explains(folder_ / "eval-explain.jsonl");
        std::ofstream fixes(folder_ / "eval-fix.jsonl");
        for (const auto& [language, files] : by_language) {
            write_line_cases(files, kCasesPerLanguage, random_, lines);
            write_explain_cases(files, kCasesPerLanguage, random_, explains);
            write_fix_cases(files, kCasesPerLanguage, random_, fixes);
        }
        if (!lines.flush() || !explains.flush() || !fixes.flush()) {
            return fail(ErrorCode::io, "cannot write evaluation cases to " + folder_.string());
        }
        return {};
    }

    Result<void> write_shard(const std::string& kind, std::size_t number, const Tokens& tokens) {
        if (tokens.empty()) return {};
        std::array<char, 16> digits{};
        std::snprintf(digits.data(), digits.size(), "-%03zu.bin", number);
        return write_tokens(kind + digits.data(), tokens);
    }

    Result<void> write_tokens(const std::string& name, const Tokens& tokens) {
        std::string data;
        data.reserve(tokens.size() * 2);
        std::size_t text_bytes = 0;
        const TokenizerFile& tokenizer = formats_.encoder().file();
        for (const TokenId token : tokens) {
            data += static_cast<char>(token & 0xFFU);
            data += static_cast<char>(token >> 8U);
            if (!tokenizer.is_special(token)) text_bytes += tokenizer.token_bytes(token).size();
        }
        std::ofstream stream(folder_ / name, std::ios::binary);
        stream.write(data.data(), static_cast<std::streamsize>(data.size()));
        if (!stream.flush()) {
            return fail(ErrorCode::io, "cannot write " + (folder_ / name).string(), "samples");
        }
        index_[name] = {tokens.size(), text_bytes};
        std::printf("%s: %zu tokens\n", name.c_str(), tokens.size());
        std::fflush(stdout);
        return {};
    }

    Result<void> write_index() {
        std::ofstream stream(folder_ / "shards.json");
        const char* separator = "{";
        for (const auto& [name, sizes] : index_) {
            stream << separator << "\n  \"" << name << "\": {\"tokens\": " << sizes.first
                   << ", \"bytes\": " << sizes.second << "}";
            separator = ",";
        }
        stream << "\n}\n";
        if (!stream.flush()) {
            return fail(ErrorCode::io, "cannot write " + (folder_ / "shards.json").string());
        }
        return {};
    }

    const std::vector<CorpusFile>& files_;
    SampleFormats& formats_;
    std::filesystem::path folder_;
    Random random_;
    CodePieces pieces_;
    std::vector<CodePiece> all_pieces_;
    std::map<std::string, std::pair<std::size_t, std::size_t>> index_;  // tokens, bytes
};

Result<void> run(const std::string& corpus,
                 const std::string& tokenizer_path,
                 const std::string& folder,
                 std::uint64_t seed) {
    HEARTH_TRY(const std::vector<CorpusFile> files, load_corpus_pack(corpus));
    HEARTH_TRY(const TokenizerFile tokenizer, TokenizerFile::load(tokenizer_path));
    Encoder encoder(tokenizer);
    HEARTH_TRY(SampleFormats formats, SampleFormats::make(encoder));
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorCode::io, "cannot make " + folder + ": " + error.message());
    return SampleMaker(files, formats, folder, seed).run();
}

}  // namespace

int main(int argument_count, char** arguments) {
    if (argument_count < 4 || argument_count > 5) {
        std::fputs("usage: hearth-make-samples CORPUS.PACK TOKENIZER_FILE FOLDER [SEED]\n", stderr);
        return 2;
    }
    const std::uint64_t seed =
        argument_count == 5 ? std::strtoull(arguments[4], nullptr, 10) : std::uint64_t{1};
    if (const Result<void> done = run(arguments[1], arguments[2], arguments[3], seed); !done) {
        std::fprintf(stderr, "hearth-make-samples: %s\n", done.error().text.c_str());
        return 1;
    }
    return 0;
}
