// hearth-evaluate: runs a model file over windows of text, cursors, functions and broken lines, for
// evaluate.py, which chooses, scores and reports.
#include <charconv>
#include <cstdio>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "core/assist/assist.h"
#include "kernels/cpu/cpu_backend.h"
#include "training/evaluation/case_stream.h"
#include "training/evaluation/evaluation.h"
#include "training/evaluation/product.h"
#include "training/trainer/dataset.h"

namespace hearth::evaluation {
namespace {

constexpr const char* kUsage =
    "hearth-evaluate lines MODEL [PLUGINS] | explain MODEL | fix MODEL | bits MODEL SHARDS |\n"
    "                copies\n"
    "Reads cases from the input: the byte counts of the parts as a line, then the parts. Writes a\n"
    "line of constants, then for each case a line of words, and the texts whose byte counts are\n"
    "its last words.\n"
    "lines     path, language, prefix, suffix, most lines, the project's name, and path and text\n"
    "          of each other file that is open, which plugins of the folder PLUGINS show the "
    "model.\n"
    "          Constants: the probabilities from which a line is shown while one types, when "
    "asked\n"
    "          for, and before the model is asked.\n"
    "          SOURCE PROBABILITY of the choice, LOG_PROBABILITY TOKENS of the model's first\n"
    "          greedy line, FAULT LOG_PROBABILITY of the likeliest that was found, COPIES, for "
    "each\n"
    "          FAULT PROBABILITY MATCH AGREEING DISAGREEING BELOW; the model's greedy lines, the\n"
    "          likeliest line, the choice however unlikely, what is shown in the first two\n"
    "          situations, the copies\n"
    "copies    the same without a model\n"
    "explain   path, code. Constant: the confidence from which an explanation is shown.\n"
    "          CONFIDENCE; the answer, what is shown\n"
    "fix       path, language, lines before, line, lines after. Constants: the probabilities from\n"
    "          which a fix is shown, and where a diagnostic names the line. FAULT of the model's "
    "greedy answer, PROBABILITY of the\n"
    "          likeliest change, and its PROBABILITY where the line is known to be wrong; the\n"
    "          answer, the change, what is shown, and where the line is known to be wrong\n"
    "bits      shard, index of a window of 512 tokens, 'any' or 'plain': the next one from there\n"
    "          on that is code behind its path line and has no hole.\n"
    "          TOKENS BYTES BITS RECALLED SHARD_BYTES; the path, empty where it is not plain\n";
constexpr std::size_t kWindowTokens = 512;
constexpr std::size_t kLinePartsMin = 6;  // a path and a text for each open file follow
constexpr std::size_t kOpenFilesMax = 64;

/// Answers each case of the input, as `answer` says.
template <typename Answer>
Result<void> answer_cases(PartCount count, const Answer& answer) {
    for (;;) {
        HEARTH_TRY(const auto parts, read_case(std::cin, count));
        if (!parts) return {};
        HEARTH_CHECK(answer(*parts));
    }
}

Result<std::size_t> parse_count(std::string_view text) {
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error == std::errc() && end == text.data() + text.size()) return count;
    return fail(ErrorCode::corrupt, "'" + std::string(text) + "' is no count", "evaluation");
}

void write_line_answer(const LineAnswer& answer) {
    const assist::Decision& decision = answer.decision;
    std::ostringstream words;
    std::vector<std::string_view> texts = {
        answer.model, decision.model_line, answer.product, answer.automatic, answer.invoked};
    words << std::setprecision(9) << to_string(decision.choice.source) << ' '
          << decision.choice.probability << ' ' << answer.greedy.log_probability << ' '
          << answer.greedy.token_count << ' ' << to_string(decision.model_fault) << ' '
          << decision.model_tokens.log_probability << ' ' << answer.copies.size();
    for (const assist::CopyOffer& copy : answer.copies) {
        const assist::CopyCandidate& evidence = copy.evidence;
        words << ' ' << to_string(copy.fault) << ' ' << copy_probability(evidence) << ' '
              << evidence.match_characters << ' ' << evidence.agreeing << ' '
              << evidence.disagreeing << ' ' << evidence.fits_line_below << ' '
              << evidence.frame.lines << ' ' << evidence.frame.agreeing << ' '
              << evidence.frame.disagreeing;
        texts.push_back(copy.text);
    }
    write_answer(std::cout, words.str(), texts);
}

Result<LineCase> to_line_case(const CaseParts& parts) {
    HEARTH_TRY(const std::size_t lines_max, parse_count(parts[4]));
    LineCase cursor{.path = parts[0],
                    .language = parts[1],
                    .prefix = parts[2],
                    .suffix = parts[3],
                    .lines_max = static_cast<std::uint32_t>(lines_max),
                    .project = parts[5]};
    if ((parts.size() - kLinePartsMin) % 2 != 0) {
        return fail(ErrorCode::corrupt, "an open file of a case has no text", "evaluation");
    }
    for (std::size_t i = kLinePartsMin; i < parts.size(); i += 2) {
        cursor.open_files.push_back({.path = parts[i], .text = parts[i + 1]});
    }
    return cursor;
}

Result<void> answer_lines(const std::function<Result<LineAnswer>(const LineCase&)>& complete) {
    const assist::AssistLimits limits;
    std::cout << limits.automatic_probability_min << ' ' << limits.invoked_probability_min << ' '
              << assist::kCertainCopy << std::endl;
    return answer_cases({kLinePartsMin, kLinePartsMin + 2 * kOpenFilesMax},
                        [&](const CaseParts& parts) -> Result<void> {
                            HEARTH_TRY(const LineCase cursor, to_line_case(parts));
                            HEARTH_TRY(const LineAnswer answer, complete(cursor));
                            write_line_answer(answer);
                            return {};
                        });
}

Result<void> answer_explain(Product& product) {
    std::cout << assist::AssistLimits{}.explain_confidence_min << std::endl;
    return answer_cases({2, 2}, [&](const CaseParts& parts) -> Result<void> {
        HEARTH_TRY(const ExplainAnswer answer,
                   product.explain({.path = parts[0], .code = parts[1]}));
        write_answer(std::cout, std::to_string(answer.confidence), {answer.answer, answer.shown});
        return {};
    });
}

Result<void> answer_fix(Product& product) {
    const assist::AssistLimits limits;
    std::cout << limits.fix_probability_min << ' ' << limits.diagnosed_fix_probability_min
              << std::endl;
    return answer_cases({5, 5}, [&](const CaseParts& parts) -> Result<void> {
        HEARTH_TRY(const FixAnswer answer,
                   product.fix({.path = parts[0],
                                .language = parts[1],
                                .before = parts[2],
                                .line = parts[3],
                                .after = parts[4]}));
        std::ostringstream words;
        words << to_string(answer.fault) << ' ' << answer.found.probability << ' '
              << answer.found.probability_if_wrong;
        write_answer(std::cout,
                     words.str(),
                     {answer.answer, answer.found.line, answer.shown, answer.shown_if_wrong});
        return {};
    });
}

struct Shard {
    trainer::TokenShards tokens;
    std::int64_t text_bytes = 0;
};

Result<void> answer_window(Evaluation& evaluation,
                           const Shard& shard,
                           std::size_t index,
                           bool is_plain_wanted) {
    const auto tokens = shard.tokens.tokens();
    BitCount count;
    std::optional<PlainWindow> plain;
    for (; (index + 1) * kWindowTokens <= tokens.size(); ++index) {
        const auto window = tokens.subspan(index * kWindowTokens, kWindowTokens);
        plain = evaluation.find_plain(window);
        if (is_plain_wanted && !plain) continue;
        HEARTH_TRY(count, evaluation.count_bits(window));
        break;
    }
    std::ostringstream words;
    words << std::setprecision(12) << count.tokens << ' ' << count.bytes << ' ' << count.bits << ' '
          << (plain ? count_recalled(*plain, count) : 0) << ' ' << shard.text_bytes;
    const std::string path = plain ? plain->path : std::string();
    write_answer(std::cout, words.str(), {path});
    return {};
}

Result<void> answer_bits(Evaluation& evaluation, const std::string& folder) {
    std::cout << kWindowTokens << std::endl;
    const auto vocab_size = static_cast<std::size_t>(evaluation.tokenizer().vocab_size());
    std::map<std::string, Shard> shards;
    return answer_cases({3, 3}, [&](const CaseParts& parts) -> Result<void> {
        const std::string& name = parts[0];
        if (!shards.contains(name)) {
            HEARTH_TRY(auto tokens, trainer::TokenShards::load(folder, name, vocab_size));
            const std::int64_t text_bytes = evaluation.text_bytes(tokens.tokens());
            shards.clear();  // they come one after the other
            shards.insert({name, Shard{std::move(tokens), text_bytes}});
        }
        HEARTH_TRY(const std::size_t index, parse_count(parts[1]));
        return answer_window(evaluation, shards.at(name), index, parts[2] == "plain");
    });
}

Result<void> run(std::string_view command, int count, char** values) {
    if (command == "copies" && count == 2) {
        return answer_lines([](const LineCase& cursor) { return Result(copy_line(cursor)); });
    }
    const bool is_bits = command == "bits" && count == 4;
    const bool is_lines = command == "lines" && (count == 3 || count == 4);
    const bool is_product = is_lines || ((command == "explain" || command == "fix") && count == 3);
    if (!is_bits && !is_product) {
        return fail(ErrorCode::invalid_argument, "see hearth-evaluate --help", "evaluation");
    }
    HEARTH_TRY(const auto model, model::load_model(values[2]));
    // Several of these run side by side: threads that never wait for each other.
    HEARTH_TRY(const auto backend, cpu::make_cpu_backend({.thread_count = 1}));
    std::cerr << command << ": " << values[2] << " on " << backend->name() << ": "
              << backend->description() << "\n";
    if (is_bits) {
        HEARTH_TRY(const auto evaluation, Evaluation::make(model, *backend));
        return answer_bits(*evaluation, values[3]);
    }
    HEARTH_TRY(const auto product, Product::make(model, *backend, count == 4 ? values[3] : ""));
    if (command == "explain") return answer_explain(*product);
    if (command == "fix") return answer_fix(*product);
    return answer_lines([&](const LineCase& cursor) { return product->complete_line(cursor); });
}

}  // namespace
}  // namespace hearth::evaluation

int main(int count, char** values) {
    if (count == 2 && std::string_view(values[1]) == "--help") {
        std::fputs(hearth::evaluation::kUsage, stdout);
        return 0;
    }
    const auto done = hearth::evaluation::run(count < 2 ? "" : values[1], count, values);
    if (done) return 0;
    std::cerr << "hearth-evaluate: " << done.error().text << "\n";
    return done.error().code == hearth::ErrorCode::invalid_argument ? 2 : 1;
}
