#include "core/assist/line_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

using engine::TokenEvent;

// Of what was found, that is judged which is so many times as likely as the best.
constexpr double kShareJudged = 0.05;
constexpr std::size_t kSaidJudgedMax = 12;  // the likeliest; copies are judged beside them

double log_of(float probability) {
    return std::log(static_cast<double>(probability));
}

struct Beginning {
    double log_probability;
    std::vector<TokenEvent> tokens;
};

/// A text that was said, in one way or in several.
struct Line {
    std::string text;
    Evidence evidence = {};  ///< of all the ways
    double best_log_probability = 0.0;
    std::vector<TokenEvent> tokens = {};  ///< of the likeliest way
    bool is_said = true;                  ///< false: a copy that the model was asked about
};

double add_logs(double a, double b) {
    return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

class LineSearch {
  public:
    LineSearch(std::span<const CopyOffer> copies,
               double probability_min,
               const LineSearchLimits& limits)
        : copies_(copies),
          probability_min_(probability_min),
          limits_(limits) {}

    void hear(SaidLine said) {
        open_rivals(said);
        const Decision& decision = said.decision;
        if (faulty_.model_line.empty()) faulty_ = decision;
        if (decision.model_fault != Fault::none || is_blank(decision.model_line)) return;
        const std::string_view text = trim_right(decision.model_line);
        const double log_probability = decision.model_tokens.log_probability;
        const auto known = find(text);
        if (known == lines_.end()) {
            lines_.push_back({std::string(text),
                              decision.model_tokens,
                              log_probability,
                              std::move(said.tokens)});
            return;
        }
        known->evidence.log_probability =
            add_logs(known->evidence.log_probability, log_probability);
        if (log_probability <= known->best_log_probability) return;
        known->best_log_probability = log_probability;
        known->tokens = std::move(said.tokens);
    }

    /// The likeliest beginnings that may still become the line; none at the end of the search.
    std::vector<SaidLine> next() {
        const double best = limits_.chances.of_best * choice().probability;
        std::vector<SaidLine> beginnings;
        while (!open_.empty() && beginnings.size() < limits_.at_once_max &&
               begun_ < limits_.beginnings_max) {
            const double possible =
                model_probability({.log_probability = open_.front().log_probability});
            if (possible <= best || possible < limits_.chances.of_shown * probability_min_) break;
            std::vector<TokenEvent> tokens = std::move(open_.front().tokens);
            open_.erase(open_.begin());
            const std::size_t known = tokens.size();
            beginnings.push_back({.tokens = std::move(tokens), .known_count = known});
            ++begun_;
        }
        return beginnings;
    }

    /// Asks about the lines and copies that may turn out to be the likeliest.
    void judge(const JudgeLines& judge_lines) {
        std::ranges::stable_sort(lines_, std::ranges::greater{}, [](const Line& line) {
            return line.evidence.log_probability;
        });
        const double least = kShareJudged * choice().probability;
        std::vector<AskedLine> asked;
        for (const Line& line : lines_) {
            if (asked.size() == kSaidJudgedMax || model_probability(line.evidence) < least) break;
            asked.push_back({.text = line.text, .is_said = true});
        }
        const std::size_t said_count = asked.size();
        for (const CopyOffer& copy : copies_) {
            const std::string_view text = trim_right(copy.text);
            const bool is_known = find(text) != lines_.end();
            if (copy.fault != Fault::none || is_known || copy_probability(copy.evidence) < least) {
                continue;
            }
            asked.push_back({.text = std::string(text)});
        }
        if (asked.size() < 2) return;
        const LineVerdicts verdicts = judge_lines(asked);
        std::vector<WeighedLine> weighed;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            weighed.push_back({.said = lines_[i].evidence.log_probability, .verdict = {}});
            if (i < std::min(said_count, verdicts.size())) weighed.back().verdict = verdicts[i];
        }
        for (std::size_t i = said_count; i < verdicts.size(); ++i) {
            if (!verdicts[i]) continue;
            lines_.push_back({.text = asked[i].text, .is_said = false});
            weighed.push_back({.said = {}, .verdict = verdicts[i]});
        }
        const std::vector<double> weights = weigh_lines(weighed);
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            lines_[i].evidence.log_probability = weights[i];
        }
    }

    FoundLine found() {
        Choice chosen = choice();
        const auto best = std::ranges::max_element(lines_, {}, [](const Line& line) {
            return std::pair(line.is_said, line.evidence.log_probability);
        });
        if (best == lines_.end() || !best->is_said) {
            faulty_.choice = std::move(chosen);
            faulty_.is_open = false;
            return {.decision = std::move(faulty_)};
        }
        FoundLine found{.decision = {.choice = std::move(chosen),
                                     .model_line = best->text,
                                     .model_tokens = best->evidence}};
        const auto same = find(trim_right(found.decision.choice.text));
        if (same != lines_.end()) found.tokens = std::move(same->tokens);
        return found;
    }

  private:
    [[nodiscard]] std::vector<Line>::iterator find(std::string_view text) {
        return std::ranges::find_if(lines_, [&](const Line& line) { return line.text == text; });
    }

    [[nodiscard]] Choice choice() const {
        std::vector<ModelLine> lines;
        lines.reserve(lines_.size());
        for (const Line& line : lines_) {
            lines.push_back({.text = line.text, .tokens = line.evidence, .is_said = line.is_said});
        }
        return choose(lines, copies_, probability_min_);
    }

    /// The other ways that a line could have gone on, at each token that was said for it.
    void open_rivals(const SaidLine& said) {
        const std::size_t count = std::min(
            said.tokens.size(), static_cast<std::size_t>(said.decision.model_tokens.token_count));
        double log_probability = 0.0;
        for (std::size_t i = 0; i < count; ++i) {
            for (const engine::Rival& rival : said.tokens[i].rivals) {
                if (i < said.known_count || rival.probability <= 0.0F) break;
                open(log_probability + log_of(rival.probability),
                     std::span(said.tokens).first(i),
                     rival);
            }
            log_probability += log_of(said.tokens[i].probability);
        }
    }

    void open(double log_probability,
              std::span<const TokenEvent> before,
              const engine::Rival& rival) {
        const auto place =
            std::ranges::upper_bound(open_, log_probability, std::ranges::greater{}, [](auto& b) {
                return b.log_probability;
            });
        Beginning beginning{log_probability, {before.begin(), before.end()}};
        beginning.tokens.push_back({.token = rival.token, .probability = rival.probability});
        open_.insert(place, std::move(beginning));
        if (open_.size() > limits_.open_max) open_.pop_back();
    }

    const std::span<const CopyOffer> copies_;
    const double probability_min_;
    const LineSearchLimits& limits_;
    std::vector<Line> lines_;
    std::vector<Beginning> open_;  ///< likeliest first
    std::size_t begun_ = 0;
    Decision faulty_;  ///< the first, where there is no line without fault
};

}  // namespace

FoundLine search_line(SaidLine first,
                      std::span<const CopyOffer> copies,
                      double probability_min,
                      const LineSearchLimits& limits,
                      const GoOn& go_on,
                      const JudgeLines& judge_lines) {
    LineSearch search(copies, probability_min, limits);
    search.hear(std::move(first));
    for (;;) {
        std::vector<SaidLine> beginnings = search.next();
        if (beginnings.empty()) break;
        std::vector<SaidLine> said = go_on(std::move(beginnings));
        if (said.empty()) break;
        for (SaidLine& line : said) {
            search.hear(std::move(line));
        }
    }
    if (judge_lines) search.judge(judge_lines);
    return search.found();
}

}  // namespace hearth::assist
