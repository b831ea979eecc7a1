#include "core/assist/fix_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/assist/fix_candidates.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

using tokenizer::TokenId;

/// A line instead of the marked one, by its tokens; the last one ends the answer.
struct Candidate {
    std::string line;
    Tokens tokens;
    std::size_t common = 0;  ///< tokens at the head that are the marked line's
    double log_probability = 0.0;
};

class Search {
  public:
    Search(const FixSearchInput& input, const tokenizer::Tokenizer& tokenizer, const Judge& judge)
        : input_(input),
          tokenizer_(tokenizer),
          judge_(judge),
          marked_(trim_right(input.place.marked)) {}

    Result<std::optional<FoundFix>> run() {
        if (marked_.empty() || marked_.find('\n') != std::string_view::npos) {
            return std::optional<FoundFix>();
        }
        HEARTH_CHECK(collect());
        if (!look_at_edits()) return std::optional<FoundFix>();
        judge_to_the_end();
        return std::optional(choose());
    }

  private:
    /// The marked line first, then what may stand in its place and has no fault.
    Result<void> collect() {
        HEARTH_CHECK(add(std::string(marked_)));
        std::vector<std::string> lines = find_fix_candidates(
            {.before = input_.place.before, .marked = marked_, .after = input_.place.after});
        std::string said(trim_right(input_.said));
        const bool is_new = !said.empty() && said != marked_ &&
                            said.find('\n') == std::string::npos &&
                            std::ranges::find(lines, said) == lines.end();
        if (is_new) lines.push_back(std::move(said));
        for (std::string& line : lines) {
            if (find_fix_fault(input_.place, line) != Fault::none) continue;
            HEARTH_CHECK(add(std::move(line)));
        }
        return {};
    }

    Result<void> add(std::string line) {
        HEARTH_TRY(Tokens tokens, tokenizer_.encode(line));
        tokens.push_back(tokenizer_.end_tokens().front());
        std::size_t common = 0;
        if (!candidates_.empty()) {
            const auto [end, other] = std::ranges::mismatch(tokens, candidates_.front().tokens);
            common = static_cast<std::size_t>(end - tokens.begin());
        }
        candidates_.push_back({std::move(line), std::move(tokens), common});
        return {};
    }

    /// How probable the marked line is, and each edit up to its first token. Leaves the marked line
    /// and the edits whose first token gains most over the marked line's own.
    bool look_at_edits() {
        const Tokens& own = candidates_.front().tokens;
        JudgedPrompt prompt = make_judged_prompt(input_.prompt, own, 0);
        const auto first_row = prompt.asked.front().row;
        for (std::size_t i = 1; i < candidates_.size(); ++i) {
            const Candidate& edit = candidates_[i];
            prompt.asked.push_back(
                {first_row + static_cast<std::int32_t>(edit.common), edit.tokens[edit.common]});
        }
        // Asked by row: `place` finds each candidate's again.
        std::vector<std::size_t> order(prompt.asked.size());
        for (std::size_t i = 0; i < order.size(); ++i) {
            order[i] = i;
        }
        std::ranges::stable_sort(order, {}, [&](std::size_t i) { return prompt.asked[i].row; });
        JudgedPrompt sorted{std::move(prompt.tokens), {}};
        for (const std::size_t i : order) {
            sorted.asked.push_back(prompt.asked[i]);
        }
        const std::vector<LogProbabilities> told = judge_({std::move(sorted)});
        if (told.size() != 1 || told.front().size() != order.size()) return false;
        std::vector<double> log_of(order.size());
        for (std::size_t i = 0; i < order.size(); ++i) {
            log_of[order[i]] = told.front()[i];
        }
        keep_best(std::span(log_of).first(own.size()), std::span(log_of).subspan(own.size()));
        return true;
    }

    ///   own     (tokens of the marked line)
    ///   firsts  (edits) of each one's first token
    void keep_best(std::span<const double> own, std::span<const double> firsts) {
        std::vector<std::pair<double, std::size_t>> gains;
        for (std::size_t i = 0; i < firsts.size(); ++i) {
            Candidate& edit = candidates_[i + 1];
            for (std::size_t token = 0; token < edit.common; ++token) {
                edit.log_probability += own[token];
            }
            edit.log_probability += firsts[i];
            gains.emplace_back(firsts[i] - own[edit.common], i + 1);
        }
        for (const double log_probability : own) {
            candidates_.front().log_probability += log_probability;
        }
        std::ranges::stable_sort(
            gains, std::ranges::greater{}, &decltype(gains)::value_type::first);
        gains.resize(std::min(gains.size(), kFixesJudgedMax));
        std::vector<Candidate> kept = {std::move(candidates_.front())};
        for (const auto& [gain, index] : gains) {
            kept.push_back(std::move(candidates_[index]));
        }
        candidates_ = std::move(kept);
    }

    void judge_to_the_end() {
        std::vector<JudgedPrompt> prompts;
        std::vector<std::size_t> of;  // which candidate
        for (std::size_t i = 1; i < candidates_.size(); ++i) {
            const Candidate& edit = candidates_[i];
            if (edit.common + 1 == edit.tokens.size()) continue;
            prompts.push_back(make_judged_prompt(input_.prompt, edit.tokens, edit.common + 1));
            of.push_back(i);
        }
        const std::vector<LogProbabilities> told = judge_(std::move(prompts));
        for (std::size_t i = 0; i < of.size(); ++i) {
            double& sum = candidates_[of[i]].log_probability;
            const bool is_told = i < told.size() && !told[i].empty();
            // What was not judged is not chosen.
            if (!is_told) sum = -std::numeric_limits<double>::infinity();
            for (std::size_t k = 0; is_told && k < told[i].size(); ++k) {
                sum += told[i][k];
            }
        }
    }

    [[nodiscard]] FoundFix choose() const {
        const auto changes = std::span(candidates_).subspan(1);
        if (changes.empty()) return {};
        const auto best = std::ranges::max_element(changes, {}, &Candidate::log_probability);
        if (!std::isfinite(best->log_probability)) return {};
        const auto beside_best = [&](const Candidate& each) {
            return std::exp(each.log_probability - best->log_probability);
        };
        double sum = 0.0;
        for (const Candidate& change : changes) {
            sum += beside_best(change);
        }
        return {.line = best->line,
                .probability = 1.0 / (sum + beside_best(candidates_.front())),
                .probability_if_wrong = 1.0 / sum};
    }

    const FixSearchInput& input_;
    const tokenizer::Tokenizer& tokenizer_;
    const Judge& judge_;
    const std::string_view marked_;
    std::vector<Candidate> candidates_;
};

}  // namespace

Result<std::optional<FoundFix>> search_fix(const FixSearchInput& input,
                                           const tokenizer::Tokenizer& tokenizer,
                                           const Judge& judge) {
    return Search(input, tokenizer, judge).run();
}

}  // namespace hearth::assist
