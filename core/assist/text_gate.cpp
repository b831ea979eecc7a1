#include "core/assist/text_gate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/assist/code_scan.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {

using engine::FinishReason;

float Evidence::confidence() const {
    if (token_count == 0) return 0.0F;
    return static_cast<float>(std::exp(log_probability / token_count));
}

void TextGate::count(float probability, float rival) {
    const auto log_of = [](float value) {
        return std::log(std::max(static_cast<double>(value), 1e-9));
    };
    evidence_.rival_log_probability =
        std::max(evidence_.rival_log_probability, evidence_.log_probability + log_of(rival));
    evidence_.log_probability += log_of(probability);
    ++evidence_.token_count;
}

GateAnswer TextGate::feed(std::string_view text, float probability, float rival) {
    count(probability, rival);
    return take(text);
}

std::string StopStrings::feed(std::string_view text) {
    if (is_stopped_) return {};
    held_ += text;
    // The stop that is complete first counts, so that the cut into pieces does not matter.
    std::size_t begin = std::string::npos;
    std::size_t end = std::string::npos;
    for (const std::string& stop : stops_) {
        const std::size_t found = held_.find(stop);
        if (found == std::string::npos || found + stop.size() > end) continue;
        begin = found + stop.size() == end ? std::min(begin, found) : found;
        end = found + stop.size();
    }
    if (begin != std::string::npos) {
        is_stopped_ = true;
        held_.resize(begin);
        return std::exchange(held_, {});
    }
    std::size_t keep = 0;
    for (const std::string& stop : stops_) {
        for (std::size_t part = std::min(stop.size() - 1, held_.size()); part > keep; --part) {
            if (held_.ends_with(std::string_view(stop).substr(0, part))) keep = part;
        }
    }
    std::string out = held_.substr(0, held_.size() - keep);
    held_.erase(0, out.size());
    return out;
}

std::string StopStrings::finish() {
    return std::exchange(held_, {});
}

/// Whole sentences or lines, unless they are not worth reading.
std::string ExplainGate::release(std::size_t end) {
    if (is_refused_ || end == 0) return {};
    const std::string_view sentences = std::string_view(held_).substr(0, end);
    is_refused_ = confidence_min_ > 0.0 && !is_blank(sentences) &&
                  (evidence().confidence() < confidence_min_ || repeats_itself(sentences) ||
                   (!is_begun_ && !is_prose(sentences)));
    if (is_refused_) return {};
    std::string out(sentences);
    held_.erase(0, end);
    if (!is_begun_) out.erase(0, out.size() - trim_left(out).size());
    is_begun_ = is_begun_ || !out.empty();
    return out;
}

GateAnswer ExplainGate::take(std::string_view text) {
    held_ += stops_.feed(text);
    if (stops_.is_stopped()) {
        std::string rest = release(held_.size());
        rest.resize(trim_right(rest).size());
        return {std::move(rest), true};
    }
    // A sentence ends with its mark and a blank: "3.5" and "a.b" go on.
    std::size_t end = 0;
    for (std::size_t i = 0; i + 1 < held_.size(); ++i) {
        const bool is_mark = held_[i] == '.' || held_[i] == '!' || held_[i] == '?';
        if (is_mark && is_blank(held_[i + 1])) end = i + 1;
        if (held_[i] == '\n' && !is_blank(held_[i + 1])) end = i + 1;
    }
    std::string out = release(end);
    return {std::move(out), is_refused_};
}

std::string ExplainGate::finish(FinishReason reason) {
    held_ += stops_.finish();
    if (reason == FinishReason::cancelled) return {};
    held_.resize(trim_right(held_).size());
    const bool is_cut = reason == FinishReason::tokens_max || reason == FinishReason::deadline;
    const bool is_whole =
        !held_.empty() && std::string_view(".!?").find(held_.back()) != std::string_view::npos;
    // Half a sentence is better than nothing only where there is nothing else.
    if (is_cut && !is_whole && is_begun_) return {};
    return release(held_.size());
}

GateAnswer FixGate::take(std::string_view text) {
    text_ += stops_.feed(text);
    if (stops_.is_stopped()) return {judge(text_), true};
    if (options_.may_have_fence) return {};
    // Our own model was shown one line and answers with one.
    const bool is_one_line = trim_right(options_.marked).find('\n') == std::string_view::npos;
    const std::size_t newline = text_.find('\n');
    if (is_one_line && newline != std::string::npos && !is_blank(text_.substr(0, newline))) {
        return {judge(std::string_view(text_).substr(0, newline)), true};
    }
    return {};
}

std::string FixGate::finish(FinishReason reason) {
    // A fix that was cut short would delete the rest of the line.
    if (reason != FinishReason::stop_token && reason != FinishReason::sink_enough) return {};
    text_ += stops_.finish();
    return judge(text_);
}

std::string FixGate::judge(std::string_view text) {
    answer_ = tidy_fix(text, options_.marked, options_.may_have_fence);
    if (answer_.empty() || options_.probability_min == 0.0) return answer_;
    fault_ = find_fix_fault(options_, answer_);
    const bool is_sure = std::exp(evidence().log_probability) >= options_.probability_min;
    return fault_ == Fault::none && is_sure ? answer_ : std::string();
}

Fault find_fix_fault(const FixGate::Options& place, std::string_view fixed) {
    const auto fault_of = [&](std::string_view lines) {
        std::string before = place.before;
        const std::string after = "\n" + place.after;
        Fault fault = Fault::none;
        while (!lines.empty() && fault == Fault::none) {
            const std::string_view line = trim_right(take_line(lines));
            if (!line.empty()) {
                fault = find_fault({.before = before,
                                    .after = after,
                                    .language = place.language,
                                    .begins_document = false},
                                   line);
            }
            before.append(line).append("\n");
        }
        return fault;
    };
    const auto unbalanced = [&](std::string_view lines) {
        return count_unbalanced(lines, place.language);
    };
    const Fault fault = fault_of(fixed);
    const bool is_syntax = fault == Fault::unbalanced || fault == Fault::open_string;
    const bool is_old = is_syntax && fault_of(place.marked) == fault &&
                        unbalanced(fixed) <= unbalanced(place.marked);
    return is_old ? Fault::none : fault;
}

std::string tidy_fix(std::string_view answer, std::string_view marked, bool may_have_fence) {
    if (may_have_fence) {
        const std::size_t open = answer.find("```");
        if (open != std::string_view::npos) {
            const std::size_t begin = answer.find('\n', open);
            if (begin == std::string_view::npos) return {};
            answer = answer.substr(begin + 1);
            answer = answer.substr(0, answer.find("```"));
        }
    }
    while (!answer.empty() && (answer.front() == '\n' || answer.front() == '\r')) {
        answer.remove_prefix(1);
    }
    answer = trim_right(answer);
    if (answer.empty()) return {};
    const std::string_view indent =
        indentation(answer).empty() ? indentation(marked) : std::string_view();
    std::string fixed;
    while (!answer.empty()) {
        const std::string_view line = take_line(answer);
        if (!is_blank(line)) fixed.append(indent).append(line);
        if (!answer.empty()) fixed += '\n';
    }
    return same_lines(fixed, marked) ? std::string() : fixed;
}

}  // namespace hearth::assist
