// hearth-evaluate: runs a model file over held-out windows or over cursors, for evaluate.py, which
// chooses, scores and reports.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "core/assist/assist.h"
#include "kernels/cpu/cpu_backend.h"
#include "training/evaluation/evaluation.h"
#include "training/evaluation/product.h"
#include "training/trainer/dataset.h"

namespace hearth::evaluation {
namespace {

constexpr const char* kUsage =
    "hearth-evaluate bits MODEL SHARDS WINDOWS\n"
    "  for each heldout-*.bin in the folder SHARDS, over at most WINDOWS windows (0: all), one "
    "line:\n"
    "  name, tokens, bytes, bits, bytes of the whole shard; tabs between\n"
    "hearth-evaluate lines MODEL\n"
    "  reads cases: the byte counts of path, language, prefix and suffix as a line, then their\n"
    "  bytes; writes the probabilities from which a line is shown unasked, when asked for and\n"
    "  before the model is asked; then for each case what the product makes of it: a line of\n"
    "  words, then texts\n"
    "    SOURCE PROBABILITY BYTES   the choice, however unlikely\n"
    "    FAULT LOG_PROBABILITY TOKENS BYTES   the model's line\n"
    "    COPIES, then for each FAULT PROBABILITY MATCH AGREEING DISAGREEING BELOW BYTES\n"
    "  and the bytes of these texts in this order\n"
    "hearth-evaluate copies\n"
    "  the same without a model\n";
constexpr std::size_t kWindowTokens = 512;
constexpr std::size_t kPartBytesMax = 1U << 20;
constexpr int kCasesPerNote = 500;

Result<void> count_shards(Evaluation& evaluation, const std::string& folder, std::size_t windows) {
    const auto vocab_size = static_cast<std::size_t>(evaluation.tokenizer().vocab_size());
    std::cout << std::setprecision(12);
    for (const std::string& path : trainer::shard_paths(folder, "heldout-")) {
        const std::string name = std::filesystem::path(path).filename().string();
        HEARTH_TRY(const auto shard, trainer::TokenShards::load(folder, name, vocab_size));
        const std::size_t count = shard.tokens().size() / kWindowTokens;
        const std::size_t wanted = windows == 0 ? count : std::min(count, windows);
        BitCount sum;
        for (std::size_t i = 0; i < wanted; ++i) {
            const std::size_t window = i * count / wanted;
            HEARTH_TRY(const BitCount one,
                       evaluation.count_bits(
                           shard.tokens().subspan(window * kWindowTokens, kWindowTokens)));
            sum.bits += one.bits;
            sum.tokens += one.tokens;
            sum.bytes += one.bytes;
        }
        std::cout << name << '\t' << sum.tokens << '\t' << sum.bytes << '\t' << sum.bits << '\t'
                  << evaluation.text_bytes(shard.tokens()) << std::endl;
        std::cerr << name << ": " << wanted << " windows\n";
    }
    return {};
}

/// The next case; nothing at the end of the input.
Result<std::optional<LineCase>> read_case() {
    std::string header;
    if (!std::getline(std::cin, header)) return std::optional<LineCase>();
    std::istringstream numbers(header);
    LineCase cursor;
    for (std::string* part : {&cursor.path, &cursor.language, &cursor.prefix, &cursor.suffix}) {
        std::size_t bytes = 0;
        if (numbers >> bytes && bytes <= kPartBytesMax) {
            part->resize(bytes);
            std::cin.read(part->data(), static_cast<std::streamsize>(bytes));
        }
        if (numbers && bytes <= kPartBytesMax && std::cin) continue;
        return fail(
            ErrorCode::corrupt, "the case '" + header + "' on the input is cut", "evaluation");
    }
    return std::optional(std::move(cursor));
}

void write_answer(const LineAnswer& answer) {
    const assist::Decision& decision = answer.decision;
    std::ostringstream words;
    std::string texts = decision.choice.text + decision.model_line;
    words << std::setprecision(9) << to_string(decision.choice.source) << ' '
          << decision.choice.probability << ' ' << decision.choice.text.size() << ' '
          << to_string(decision.model_fault) << ' ' << decision.model_tokens.log_probability << ' '
          << decision.model_tokens.token_count << ' ' << decision.model_line.size() << ' '
          << answer.copies.size();
    for (const assist::CopyOffer& copy : answer.copies) {
        const assist::CopyCandidate& evidence = copy.evidence;
        words << ' ' << to_string(copy.fault) << ' ' << copy_probability(evidence) << ' '
              << evidence.match_characters << ' ' << evidence.agreeing << ' '
              << evidence.disagreeing << ' ' << evidence.fits_line_below << ' ' << copy.text.size();
        texts += copy.text;
    }
    std::cout << words.str() << '\n' << texts << std::flush;
}

template <typename Complete>
Result<void> answer_cases(const Complete& complete) {
    const assist::AssistLimits limits;
    std::cout << limits.automatic_probability_min << ' ' << limits.invoked_probability_min << ' '
              << assist::kCertainCopy << std::endl;
    for (int answered = 1;; ++answered) {
        HEARTH_TRY(const std::optional<LineCase> cursor, read_case());
        if (!cursor) return {};
        HEARTH_TRY(const LineAnswer answer, complete(*cursor));
        write_answer(answer);
        if (answered % kCasesPerNote == 0) std::cerr << answered << " cases\n";
    }
}

Result<void> run(std::string_view command, int count, char** values) {
    if (command == "copies" && count == 2) {
        return answer_cases([](const LineCase& cursor) { return Result(copy_line(cursor)); });
    }
    HEARTH_TRY(const auto model, model::load_model(values[2]));
    // Bits and lines are counted side by side: two threads that never wait for each other.
    HEARTH_TRY(const auto backend, cpu::make_cpu_backend({.thread_count = 1}));
    std::cerr << values[2] << " on " << backend->name() << ": " << backend->description() << "\n";
    if (command == "lines" && count == 3) {
        HEARTH_TRY(const auto product, Product::make(model, *backend));
        return answer_cases([&](const LineCase& cursor) { return product->complete_line(cursor); });
    }
    HEARTH_TRY(const auto evaluation, Evaluation::make(model, *backend));
    std::size_t windows = 0;
    const std::string_view text = count == 5 ? values[4] : "?";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), windows);
    if (command != "bits" || error != std::errc() || end != text.data() + text.size()) {
        return fail(ErrorCode::invalid_argument, "see hearth-evaluate --help", "evaluation");
    }
    return count_shards(*evaluation, values[3], windows);
}

}  // namespace
}  // namespace hearth::evaluation

int main(int count, char** values) {
    const bool needs_no_model = count == 2 && std::string_view(values[1]) == "copies";
    if (count < 3 && !needs_no_model) {
        const bool is_help = count == 2 && std::string_view(values[1]) == "--help";
        std::fputs(hearth::evaluation::kUsage, is_help ? stdout : stderr);
        return is_help ? 0 : 2;
    }
    const auto done = hearth::evaluation::run(values[1], count, values);
    if (done) return 0;
    std::cerr << "hearth-evaluate: " << done.error().text << "\n";
    return done.error().code == hearth::ErrorCode::invalid_argument ? 2 : 1;
}
