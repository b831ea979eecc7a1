#include "core/assist/line_judge.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

constexpr int kNextLines = 3;  // that are not blank
constexpr std::size_t kNextBytesMax = 360;
constexpr double kNever = -std::numeric_limits<double>::infinity();

double or_never(const std::optional<double>& log_probability) {
    return log_probability.value_or(kNever);
}

double sum(std::span<const double> some) {
    return std::accumulate(some.begin(), some.end(), 0.0);
}

/// What the healed text costs is in each verdict, but not in what was said: the difference, from
/// the likeliest line that has both.
double healed_cost(std::span<const WeighedLine> lines) {
    double cost = 0.0;
    double best = kNever;
    for (const WeighedLine& line : lines) {
        if (!line.verdict || !line.verdict->line || or_never(line.said) <= best) continue;
        best = *line.said;
        cost = best - *line.verdict->line;
    }
    return cost;
}

/// About a line, where not all of it is known.
struct Question {
    std::size_t index;                        ///< of the line
    std::string key;                          ///< in a memory
    std::optional<double> next = {};          ///< where that is known
    std::vector<std::ptrdiff_t> begins = {};  ///< of the line's tokens that are asked about
};

/// All that a line is told by: the prompt up to the begin of the line, the whole line, and what
/// follows. The prompt by its hash: verdicts of different prompts cannot be compared.
class MemoryKeys {
  public:
    MemoryKeys(const JudgedPlace& place, const tokenizer::Tokenizer& tokenizer) : place_(place) {
        std::span<const tokenizer::TokenId> prompt = place.prompt;
        for (std::ptrdiff_t bytes = std::ssize(place.head) - std::ssize(place.healed);
             bytes > 0 && !prompt.empty();
             prompt = prompt.first(prompt.size() - 1)) {
            bytes -= std::ssize(tokenizer.token_bytes(prompt.back()));
        }
        const auto* const bytes = reinterpret_cast<const char*>(prompt.data());
        begin_ = std::to_string(std::hash<std::string_view>()({bytes, prompt.size_bytes()}));
        begin_ += '\0';
    }
    [[nodiscard]] std::string key(std::string_view text) const {
        std::string key = begin_;
        return key.append(place_.head).append(text).append(1, '\0').append(place_.next);
    }

  private:
    const JudgedPlace& place_;
    std::string begin_;
};

}  // namespace

std::string_view next_lines(std::string_view after) {
    const std::string_view shown = after.substr(0, kNextBytesMax);
    std::string_view rest = shown;
    if (!is_blank(take_line(rest))) return {};
    for (int lines = 0; lines < kNextLines && !rest.empty();) {
        if (!is_blank(take_line(rest))) ++lines;
    }
    const std::string_view next = shown.substr(0, shown.size() - rest.size());
    return is_blank(next) ? std::string_view() : next.substr(next.find('\n'));
}

Result<LineVerdicts> judge_lines(const JudgedPlace& place,
                                 std::span<const AskedLine> lines,
                                 const tokenizer::Tokenizer& tokenizer,
                                 const Judge& judge,
                                 VerdictMemory* memory) {
    const std::span<const AskedLine> judged = lines.first(std::min(lines.size(), kLinesJudgedMax));
    const bool all_said = std::ranges::all_of(judged, &AskedLine::is_said);
    const std::ptrdiff_t begin = std::ssize(place.head) - std::ssize(place.healed);
    const MemoryKeys keys(place, tokenizer);
    LineVerdicts verdicts(lines.size());
    std::vector<JudgedPrompt> prompts;
    std::vector<Question> questions;
    for (std::size_t i = 0; i < judged.size(); ++i) {
        Question question{.index = i, .key = keys.key(judged[i].text)};
        const bool is_asked = !judged[i].is_said || (i == 0 && !all_said);
        if (const auto known = memory ? memory->find(question.key) : std::nullopt) {
            question.next = known->next;
            const auto line = is_asked ? known->from(begin) : std::nullopt;
            if (line || !is_asked) {
                verdicts[i] = LineVerdict{.line = line, .next = known->next};
                continue;
            }
        }
        const std::string text = std::string(place.healed) + judged[i].text;
        HEARTH_TRY(const Tokens tokens, tokenizer.encode(text + std::string(place.next)));
        std::size_t count = 0;
        for (std::size_t bytes = 0; count < tokens.size() && bytes <= text.size(); ++count) {
            if (is_asked) question.begins.push_back(begin + static_cast<std::ptrdiff_t>(bytes));
            bytes += tokenizer.token_bytes(tokens[count]).size();
        }
        prompts.push_back(
            make_judged_prompt(place.prompt,
                               std::span(tokens).first(question.next ? count : tokens.size()),
                               is_asked ? 0 : count));
        questions.push_back(std::move(question));
    }
    if (prompts.empty()) return verdicts;
    const std::vector<LogProbabilities> told = judge(std::move(prompts));
    for (std::size_t i = 0; i < told.size(); ++i) {
        if (told[i].empty()) continue;
        const Question& question = questions[i];
        const std::span<const double> all = told[i];
        const std::size_t line_tokens = question.begins.size();
        ToldLine line{.next = question.next.value_or(sum(all.subspan(line_tokens))), .tokens = {}};
        for (std::size_t t = 0; t < line_tokens; ++t) {
            line.tokens.push_back({question.begins[t], all[t]});
        }
        LineVerdict& verdict = verdicts[question.index].emplace();
        if (line_tokens > 0) verdict.line = sum(all.first(line_tokens));
        verdict.next = line.next;
        if (memory != nullptr) memory->keep(question.key, std::move(line));
    }
    return verdicts;
}

std::vector<double> weigh_lines(std::span<const WeighedLine> lines) {
    const double cost = healed_cost(lines);
    std::vector<double> before;  // what follows is known
    double covered = 0.0;
    double next_max = kNever;
    for (const WeighedLine& line : lines) {
        double log_probability = or_never(line.said);
        if (line.verdict) {
            if (!line.said && line.verdict->line) {
                log_probability = std::min(0.0, *line.verdict->line + cost);
            }
            next_max = std::max(next_max, line.verdict->next);
        }
        before.push_back(log_probability);
        covered += std::exp(log_probability);
    }
    if (next_max == kNever) return before;
    const auto fit = [&](const LineVerdict& verdict) {
        return std::exp(verdict.next - next_max) + kFitAnyway;
    };
    // Where a line was not judged, and for all others that there are: the mean.
    double judged = 0.0;
    double mean = 0.0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (!lines[i].verdict) continue;
        judged += std::exp(before[i]);
        mean += std::exp(before[i]) * fit(*lines[i].verdict);
    }
    mean = judged > 0.0 ? mean / judged : 1.0;
    double sum = std::max(0.0, 1.0 - covered) * mean;
    std::vector<double> weights;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        weights.push_back(before[i] + std::log(lines[i].verdict ? fit(*lines[i].verdict) : mean));
        sum += std::exp(weights.back());
    }
    for (double& weight : weights) {
        weight -= std::log(sum);
    }
    return weights;
}

}  // namespace hearth::assist
