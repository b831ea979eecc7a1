// hearth-make-samples CORPUS.PACK TOKENIZER_FILE FOLDER [options]: writes token shards for
// training, for the decay phase and for held-out loss, and evaluation cases. training/README.md
// says what is in them. A pack may hold training files alone, or held-out files alone: then it
// writes those.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "training/corpus/corpus_pack.h"
#include "training/samples/block_packer.h"
#include "training/samples/code_pieces.h"
#include "training/samples/eval_cases.h"
#include "training/samples/explain_pairs.h"
#include "training/samples/fix_pairs.h"
#include "training/samples/formats.h"
#include "training/samples/source_text.h"

namespace {

using namespace hearth;            // NOLINT(google-build-using-namespace): a program's own file
using namespace hearth::training;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kShardTokens = 2U << 20U;
constexpr double kDecayShare = 0.30;    // of all training tokens
constexpr double kExplainShare = 0.10;  // of the decay phase
constexpr double kFixShare = 0.30;
constexpr std::size_t kExplainTokensMax = 320;
constexpr std::size_t kFixMutationsTried = 1000;
constexpr std::size_t kHeldoutTokensMax = std::size_t{400} * 512;  // per language

struct Options {
    std::uint64_t seed = 1;
    std::size_t window = 512;
    std::size_t cases = 300;      // per language, kind and split
    std::size_t pairs = 4000;     // documented functions of training files, per language
    std::string only;             // "pairs" or "cases": nothing else is written
    std::set<std::string> twice;  // languages whose files are seen twice, with other holes
};

/// One program run: what is read, and the folder it writes to.
class SampleMaker {
  public:
    SampleMaker(const std::vector<CorpusFile>& files,
                SampleFormats& formats,
                std::filesystem::path folder,
                const Options& options)
        : files_(files),
          formats_(formats),
          folder_(std::move(folder)),
          options_(options),
          random_(options.seed),
          pieces_(files, formats, options.window) {}

    Result<void> run() {
        if (options_.only != "cases") HEARTH_CHECK(write_train_pairs());
        if (options_.only != "pairs") HEARTH_CHECK(write_cases());
        if (!options_.only.empty()) return {};
        HEARTH_CHECK(write_train_and_decay());
        HEARTH_CHECK(write_heldout());
        if (index_.empty()) {
            return fail(ErrorCode::invalid_argument, "the corpus has no files", "samples");
        }
        return write_index();
    }

  private:
    Result<void> write_train_and_decay() {
        std::vector<CodePiece> pieces = pieces_.cut(false);
        if (pieces.empty()) return {};
        all_pieces_ = pieces;
        for (const CodePiece& piece : all_pieces_) {
            const std::string& language = files_[piece.file_index].language;
            if (options_.twice.contains(language)) pieces.push_back(piece);
            if (is_code_language(language)) fixable_.push_back(piece);
        }
        random_.shuffle(pieces);
        const double code_share = 1 - kExplainShare - kFixShare;
        const double decay_code = kDecayShare * code_share;
        const auto decay_pieces = static_cast<std::size_t>(
            static_cast<double>(pieces.size()) * decay_code / (1 - kDecayShare + decay_code));
        const auto middle = pieces.end() - static_cast<std::ptrdiff_t>(decay_pieces);
        HEARTH_CHECK(write_training({pieces.begin(), middle}));
        return write_decay({middle, pieces.end()});
    }

    BlockPacker make_packer() {
        return {options_.window, formats_.padding(), [this](std::size_t tokens_max) {
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
            while (fix < all * kFixShare && !fixable_.empty()) {
                const Tokens sample = fix_sample();
                if (sample.empty()) {
                    fixable_.clear();  // a few lines that nothing can be done to
                    break;
                }
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
            if (file.is_heldout || !is_code_language(file.language)) continue;
            for (const ExplainPair& pair : find_explain_pairs(file)) {
                Tokens tokens = formats_.explain(file.path,
                                                 pair.code,
                                                 pair.sentence,
                                                 std::min(kExplainTokensMax, options_.window));
                if (!tokens.empty()) samples[file.language].push_back(std::move(tokens));
            }
        }
        for (auto& [language, tokens] : samples) {
            std::printf("%s: %zu explain pairs\n", language.c_str(), tokens.size());
            random_.shuffle(tokens);
        }
        return samples;
    }

    /// A fix sample from a file that is picked by the size of its text; empty where luck never
    /// finds one.
    Tokens fix_sample() {
        for (std::size_t tried = 0; tried < kFixMutationsTried; ++tried) {
            const Mutation mutation = pick_mutation(random_);
            // Some mutations need luck to find a place; each kind gets its share all the same.
            for (int i = 0; i < 100; ++i) {
                const CorpusFile& file = files_[random_.pick(fixable_).file_index];
                const auto pair = make_fix_pair(file.text, mutation, random_);
                if (!pair) continue;
                Tokens tokens = formats_.fix({.path = file.path,
                                              .before = pair->before,
                                              .bad_line = pair->bad_line,
                                              .after = pair->after,
                                              .good_line = pair->good_line},
                                             options_.window);
                if (!tokens.empty()) return tokens;
            }
        }
        return {};
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
                if (tokens.size() >= kHeldoutTokensMax) break;
                const Tokens sample = pieces_.render_plain(piece, options_.window);
                if (sample.size() == options_.window) {
                    tokens.insert(tokens.end(), sample.begin(), sample.end());
                }
            }
            HEARTH_CHECK(write_tokens("heldout-" + language + ".bin", tokens));
        }
        return {};
    }

    [[nodiscard]] std::map<std::string, std::vector<const CorpusFile*>> files_of(
        bool is_heldout) const {
        std::map<std::string, std::vector<const CorpusFile*>> by_language;
        for (const CorpusFile& file : files_) {
            const bool is_wanted = file.is_heldout == is_heldout && is_code_language(file.language);
            if (is_wanted) by_language[file.language].push_back(&file);
        }
        return by_language;
    }

    /// What a lookup among the known functions could say of a new one.
    Result<void> write_train_pairs() {
        const auto by_language = files_of(false);
        if (by_language.empty()) return {};
        Random random(options_.seed);  // of its own: the samples do not depend on it
        std::ofstream pairs(folder_ / "train-explain.jsonl");
        for (const auto& [language, files] : by_language) {
            write_explain_cases(files, options_.pairs, random, pairs);
        }
        if (pairs.flush()) return {};
        return fail(ErrorCode::io, "cannot write documented functions to " + folder_.string());
    }

    Result<void> write_cases() {
        const auto by_language = files_of(true);
        if (by_language.empty()) return {};
        Random random(options_.seed);  // of its own, as above
        std::ofstream lines(folder_ / "eval-line.jsonl");
        std::ofstream explains(folder_ / "eval-explain.jsonl");
        std::ofstream fixes(folder_ / "eval-fix.jsonl");
        for (const auto& [language, files] : by_language) {
            for (const std::string_view split : {"tuning", "report"}) {
                std::vector<const CorpusFile*> own;
                std::ranges::copy_if(files, std::back_inserter(own), [&](const CorpusFile* file) {
                    return split_of(*file) == split;
                });
                if (own.empty()) continue;
                write_line_cases(own, options_.cases, random, lines);
                write_explain_cases(own, options_.cases, random, explains);
                write_fix_cases(own, options_.cases, random, fixes);
            }
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
    const Options options_;
    Random random_;
    CodePieces pieces_;
    std::vector<CodePiece> all_pieces_;
    std::vector<CodePiece> fixable_;
    std::map<std::string, std::pair<std::size_t, std::size_t>> index_;  // tokens, bytes
};

Result<void> run(const std::string& corpus,
                 const std::string& tokenizer_path,
                 const std::string& folder,
                 const Options& options) {
    HEARTH_TRY(const std::vector<CorpusFile> files, load_corpus_pack(corpus));
    HEARTH_TRY(const TokenizerFile tokenizer, TokenizerFile::load(tokenizer_path));
    Encoder encoder(tokenizer);
    HEARTH_TRY(SampleFormats formats, SampleFormats::make(encoder));
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorCode::io, "cannot make " + folder + ": " + error.message());
    return SampleMaker(files, formats, folder, options).run();
}

/// The "--name value" pairs from argument 4 on.
std::optional<Options> parse_options(int argument_count, char** arguments) {
    Options options;
    for (int i = 4; i < argument_count; i += 2) {
        const std::string_view name = arguments[i];
        if (i + 1 == argument_count) return std::nullopt;
        const char* const value = arguments[i + 1];
        if (name == "--seed") {
            options.seed = std::strtoull(value, nullptr, 10);
        } else if (name == "--window") {
            options.window = std::strtoul(value, nullptr, 10);
        } else if (name == "--cases") {
            options.cases = std::strtoul(value, nullptr, 10);
        } else if (name == "--pairs") {
            options.pairs = std::strtoul(value, nullptr, 10);
        } else if (name == "--only") {
            options.only = value;
        } else if (name == "--twice") {
            std::istringstream names(value);
            for (std::string language; std::getline(names, language, ',');) {
                options.twice.insert(language);
            }
        } else {
            return std::nullopt;
        }
    }
    if (options.window < 128 || options.window > 8192) return std::nullopt;
    if (!options.only.empty() && options.only != "pairs" && options.only != "cases") {
        return std::nullopt;
    }
    return options;
}

}  // namespace

int main(int argument_count, char** arguments) {
    const std::optional<Options> options =
        argument_count < 4 ? std::nullopt : parse_options(argument_count, arguments);
    if (!options) {
        std::fputs(
            "usage: hearth-make-samples CORPUS.PACK TOKENIZER_FILE FOLDER [options]\n"
            "  --seed N           of cuts and order (1)\n"
            "  --window N         tokens of a sample, 128 to 8192 (512)\n"
            "  --cases N          evaluation cases per language, kind and split (300)\n"
            "  --pairs N          documented functions of training files per language (4000)\n"
            "  --only pairs|cases write these and nothing else\n"
            "  --twice LANG,...   languages whose files are cut twice\n",
            stderr);
        return 2;
    }
    if (const Result<void> done = run(arguments[1], arguments[2], arguments[3], *options); !done) {
        std::fprintf(stderr, "hearth-make-samples: %s\n", done.error().text.c_str());
        return 1;
    }
    return 0;
}
