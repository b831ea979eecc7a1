#include "core/assist/line_judge.h"

#include <algorithm>
#include <cmath>
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
                                 const Judge& judge) {
    const std::span<const AskedLine> judged = lines.first(std::min(lines.size(), kLinesJudgedMax));
    std::vector<JudgedPrompt> prompts;
    std::vector<std::size_t> line_tokens;  // that were asked about, up to the line's end
    for (const AskedLine& line : judged) {
        const std::string text = std::string(place.healed) + line.text;
        HEARTH_TRY(const Tokens tokens, tokenizer.encode(text + std::string(place.next)));
        std::size_t bytes = 0;
        const auto end = std::ranges::find_if(tokens, [&](tokenizer::TokenId token) {
            bytes += tokenizer.token_bytes(token).size();
            return bytes > text.size() + 1;
        });
        const auto count = static_cast<std::size_t>(end - tokens.begin());
        const bool is_asked = !line.is_said || prompts.empty();
        line_tokens.push_back(is_asked ? count : 0);
        prompts.push_back(make_judged_prompt(place.prompt, tokens, is_asked ? 0 : count));
    }
    const std::vector<LogProbabilities> told = judge(std::move(prompts));
    LineVerdicts verdicts(lines.size());
    for (std::size_t i = 0; i < told.size(); ++i) {
        if (told[i].empty()) continue;
        const std::span<const double> all = told[i];
        const auto sum = [](std::span<const double> some) {
            return std::accumulate(some.begin(), some.end(), 0.0);
        };
        LineVerdict& verdict = verdicts[i].emplace();
        if (line_tokens[i] > 0) verdict.line = sum(all.first(line_tokens[i]));
        verdict.next = sum(all.subspan(line_tokens[i]));
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
    // Where a line was not judged, and for all others that there are: the mean.
    double judged = 0.0;
    double mean = 0.0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (!lines[i].verdict) continue;
        judged += std::exp(before[i]);
        mean += std::exp(before[i] + lines[i].verdict->next - next_max);
    }
    mean = judged > 0.0 ? mean / judged : 1.0;
    double sum = std::max(0.0, 1.0 - covered) * mean;
    std::vector<double> weights;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const double next = lines[i].verdict ? lines[i].verdict->next - next_max : std::log(mean);
        weights.push_back(before[i] + next);
        sum += std::exp(weights.back());
    }
    for (double& weight : weights) {
        weight -= std::log(sum);
    }
    return weights;
}

}  // namespace hearth::assist
