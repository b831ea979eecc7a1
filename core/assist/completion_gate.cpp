#include "core/assist/completion_gate.h"

#include <algorithm>

#include "core/assist/framed_line.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

using engine::FinishReason;

// A run of at most this length that fills the tail is a loop, not code.
constexpr std::size_t kLoopPeriodMax = 24;
constexpr std::size_t kLoopBytesMin = 72;
constexpr std::size_t kBelowBytesMax = 4096;
// Of the document, for the checks: more than they look at.
constexpr std::size_t kBeforeBytesMax = 8192;
constexpr std::size_t kOverlapBytesMin = 4;

constexpr std::string_view kOpeners = "([{";
constexpr std::string_view kClosers = ")]}";

bool is_one_of(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
}

/// Calls `on_bracket(index, is_opener)` for the brackets outside of double quotes until it says
/// false.
template <typename OnBracket>
void for_each_bracket(std::string_view text, const OnBracket& on_bracket) {
    bool is_quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\') {
            ++i;
            continue;
        }
        if (text[i] == '"') is_quoted = !is_quoted;
        if (is_quoted) continue;
        const bool is_opener = is_one_of(text[i], kOpeners);
        if (!is_opener && !is_one_of(text[i], kClosers)) continue;
        if (!on_bracket(i, is_opener)) return;
    }
}

struct Balance {
    std::int32_t unclosed = 0;  ///< openers without their closer
    std::int32_t unopened = 0;  ///< closers without their opener
};

Balance balance_of(std::string_view text) {
    Balance balance;
    for_each_bracket(text, [&](std::size_t, bool is_opener) {
        if (is_opener) {
            ++balance.unclosed;
        } else if (balance.unclosed > 0) {
            --balance.unclosed;
        } else {
            ++balance.unopened;
        }
        return true;
    });
    return balance;
}

/// The index of the `count`-th closer that `text` does not open itself (0 is the first), else its
/// size.
std::size_t find_unopened(std::string_view text, std::int32_t count) {
    std::int32_t depth = 0;
    std::size_t found = text.size();
    for_each_bracket(text, [&](std::size_t index, bool is_opener) {
        if (is_opener) {
            ++depth;
        } else if (depth > 0) {
            --depth;
        } else if (count-- == 0) {
            found = index;
            return false;
        }
        return true;
    });
    return found;
}

/// The index of the first `quote` that is not escaped, else the size.
std::size_t find_quote(std::string_view text, char quote) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            return i;
        }
    }
    return text.size();
}

bool is_inside_quotes(std::string_view line, char quote) {
    bool is_inside = false;
    for (std::size_t at = find_quote(line, quote); at < line.size(); at = find_quote(line, quote)) {
        is_inside = !is_inside;
        line.remove_prefix(at + 1);
    }
    return is_inside;
}

/// Whether the last bytes of `left` are the first of `right` and stand for more than chance: all of
/// `right`, or some whole words of it.
bool is_overlap(std::string_view left, std::string_view right, std::size_t bytes) {
    const std::string_view shared = right.substr(0, bytes);
    if (!left.ends_with(shared)) return false;
    if (bytes == right.size()) return true;
    const std::size_t begin = left.size() - bytes;
    const bool begins_word = begin == 0 || !is_word(left[begin - 1]) || !is_word(shared.front());
    const bool ends_word = !is_word(shared.back()) || !is_word(right[bytes]);
    return bytes >= kOverlapBytesMin && begins_word && ends_word;
}

/// Where a run that repeats to the end of `text` begins its second turn; the size where there is
/// none. One character over and over is a ruler, not a loop.
std::size_t find_loop(std::string_view text) {
    for (std::size_t period = 2; period <= kLoopPeriodMax; ++period) {
        if (text.size() < std::max(kLoopBytesMin, 4 * period)) continue;
        std::size_t begin = text.size() - period;
        while (begin > 0 && text[begin - 1] == text[begin - 1 + period]) {
            --begin;
        }
        const std::string_view run = text.substr(begin, period);
        const bool is_ruler = run.find_first_not_of(run.front()) == std::string_view::npos;
        if (is_ruler) return text.size();
        if (text.size() - begin >= std::max(kLoopBytesMin, 4 * period)) return begin + period;
    }
    return text.size();
}

}  // namespace

CompletionGate::CompletionGate(const CompletionGateOptions& options)
    : before_(options.before.substr(options.before.size() -
                                    std::min(options.before.size(), kBeforeBytesMax))),
      after_(options.after.substr(0, kBelowBytesMax)),
      language_(options.language),
      line_before_(last_line(options.before)),
      line_after_(trim(options.after.substr(0, options.after.find('\n')))),
      // Code right of the cursor belongs to this line; a suggestion of several would tear it off.
      lines_max_(line_after_.empty() ? options.lines_max : 1),
      copies_(options.copies.begin(), options.copies.end()),
      probability_min_(options.probability_min),
      leaves_open_(options.leaves_open),
      chances_(options.chances),
      chosen_(options.chosen),
      has_checks_(options.has_checks),
      healed_(options.healed) {
    std::string_view below = options.after.substr(0, kBelowBytesMax);
    take_line(below);
    while (!below.empty() && line_below_.empty()) {
        line_below_ = trim_right(take_line(below));
    }
    if (!is_blank(line_before_)) {
        base_width_ = indentation_width(line_before_);
        has_base_ = true;
    }
}

bool CompletionGate::is_in_document(std::string_view line) const {
    return !line_below_.empty() && trim_right(line) == line_below_;
}

bool CompletionGate::is_repeated(std::string_view line) const {
    std::string_view kept = std::string_view(text_).substr(0, line_begin_);
    std::int32_t count = 0;
    while (!kept.empty()) {
        if (trim(take_line(kept)) == trim(line)) ++count;
    }
    return count >= 2 && trim(line).size() > 1;
}

std::size_t CompletionGate::overlap_start(std::string_view line, bool is_whole) const {
    const std::string_view right = line_after_;
    if (right.empty()) return line.size();
    std::size_t cut = line.size();
    const char first = right.front();
    if ((first == '"' || first == '\'' || first == '`') && is_inside_quotes(line_before_, first)) {
        cut = std::min(cut, find_quote(line, first));
    }
    const std::int32_t closed = balance_of(right).unopened;
    if (closed > 0) {
        const std::int32_t open = balance_of(line_before_).unclosed;
        cut = std::min(cut, find_unopened(line, std::max(0, open - closed)));
    }
    if (!is_whole) return cut;
    const std::string_view kept = trim_right(line.substr(0, cut));
    if (right.starts_with(trim(kept))) return 0;
    for (std::size_t bytes = std::min(kept.size(), right.size()); bytes > 0; --bytes) {
        if (!is_overlap(kept, right, bytes)) continue;
        // "bar()" before ")" only looks like an overlap: its bracket closes its own.
        const std::size_t begin = kept.size() - bytes;
        const bool is_needed = balance_of(kept.substr(0, begin)).unclosed > 0 && closed > 0;
        if (!is_needed) return begin;
    }
    return cut;
}

void CompletionGate::refuse_first(Fault fault, std::string_view line) {
    model_fault_ = fault;
    refused_line_ = line;
}

/// Notes what is wrong with a line, if anything is.
bool CompletionGate::has_fault(std::string_view line) {
    if (!has_checks_ || is_blank(line)) return false;
    std::string before = before_;
    before.append(text_, 0, line_begin_);
    const Fault fault = find_fault({before, after_, language_}, line);
    if (line_count_ == 0 && fault != Fault::none) refuse_first(fault, line);
    return fault != Fault::none;
}

CompletionGate::Verdict CompletionGate::judge_first_line(std::string_view line) {
    if (is_in_document(line_before_ + std::string(line)) && !is_blank(line)) {
        refuse_first(Fault::repeats_line_below, line);
        return Verdict::drop_and_end;
    }
    if (has_fault(line)) return Verdict::drop_and_end;
    return lines_max_ == 1 ? Verdict::keep_and_end : Verdict::keep;
}

CompletionGate::Verdict CompletionGate::judge_later_line(std::string_view line) {
    if (is_blank(line)) return Verdict::drop_and_end;
    // A block goes on as long as each of its lines would be shown by itself.
    const Evidence tokens = {
        .log_probability = evidence().log_probability - lines_evidence_.log_probability,
        .token_count = evidence().token_count - lines_evidence_.token_count};
    if (model_probability(tokens) < probability_min_ || has_fault(line)) {
        return Verdict::drop_and_end;
    }
    const std::int32_t width = indentation_width(line);
    if (has_base_ && width < base_width_) return Verdict::drop_and_end;
    if (is_in_document(line) || is_repeated(line)) return Verdict::drop_and_end;
    if (is_deeper_ && width == base_width_ && !is_blank(line_before_)) {
        const std::string_view content = trim(line);
        if (!is_one_of(content.front(), kClosers)) return Verdict::drop_and_end;
        const bool goes_on = is_one_of(content.back(), kOpeners) || content.back() == ':';
        if (!goes_on) return Verdict::keep_and_end;
    }
    return line_count_ + 1 == lines_max_ ? Verdict::keep_and_end : Verdict::keep;
}

void CompletionGate::note_kept(std::string_view line) {
    const std::string whole =
        line_count_ == 0 ? line_before_ + std::string(line) : std::string(line);
    if (!is_blank(whole)) {
        if (!has_base_) base_width_ = indentation_width(whole);
        has_base_ = true;
        is_deeper_ = indentation_width(whole) > base_width_;
    }
    ++line_count_;
}

/// Judges the line that ends at `end`. True: the suggestion ends here.
bool CompletionGate::end_line(std::size_t end, bool is_last) {
    std::string_view line = std::string_view(text_).substr(line_begin_, end - line_begin_);
    bool is_cut = false;
    if (line_count_ == 0) {
        const std::size_t overlap = overlap_start(line, true);
        is_cut = overlap < line.size();
        line = line.substr(0, overlap);
    }
    const Verdict verdict = line_count_ == 0 ? judge_first_line(line) : judge_later_line(line);
    if (verdict == Verdict::drop_and_end) return true;
    sound_ = line_begin_ + line.size();
    note_kept(line);
    lines_evidence_ = evidence();
    if (is_cut || is_last || verdict == Verdict::keep_and_end) return true;
    line_begin_ = end + 1;
    return false;
}

/// Looks at the line in progress. True: its end is known before it came.
bool CompletionGate::end_inside_line() {
    const std::string_view line = std::string_view(text_).substr(line_begin_);
    if (line_count_ == 0) {
        const std::size_t overlap = overlap_start(line, false);
        if (overlap < line.size()) {
            if (!has_fault(line.substr(0, overlap))) sound_ = overlap;
            return true;
        }
    } else if (!is_blank(line)) {
        const std::int32_t width = indentation_width(line);
        const bool is_closer = is_one_of(trim_left(line).front(), kClosers);
        if (has_base_ && width < base_width_) return true;
        if (is_deeper_ && width == base_width_ && !is_blank(line_before_) && !is_closer) {
            return true;
        }
    }
    const std::size_t loop = find_loop(line);
    if (loop == line.size()) return false;
    if (line_count_ == 0 && !has_fault(line.substr(0, loop))) sound_ = loop;
    return true;
}

GateAnswer CompletionGate::take(std::string_view text) {
    if (!healed_.empty()) {
        const std::size_t size = std::min(text.size(), healed_.size());
        if (text.substr(0, size) == std::string_view(healed_).substr(0, size)) {
            text.remove_prefix(size);
            healed_.erase(0, size);
        } else {
            healed_.clear();
        }
        if (!healed_.empty()) return {};
    }
    bool is_enough = false;
    for (const char c : text) {
        if (c == '\r') continue;
        is_enough = c == '\n' && (end_inside_line() || end_line(text_.size(), false));
        if (is_enough) break;
        text_ += c;
    }
    is_enough = is_enough || end_inside_line();
    std::string out = release(is_enough);
    return {std::move(out), is_enough || (decision_ && !is_model_shown())};
}

std::string CompletionGate::finish(FinishReason reason) {
    if (reason == FinishReason::cancelled) return {};
    const bool is_cut = reason == FinishReason::tokens_max || reason == FinishReason::deadline;
    if (!is_cut) {
        end_line(text_.size(), true);
    } else if (line_count_ == 0) {
        // The last word may be half a word.
        std::size_t end = text_.size();
        while (end > 0 && is_word(text_[end - 1])) {
            --end;
        }
        text_.resize(end);
        end_line(end, true);
    }
    return release(true);
}

bool CompletionGate::is_model_shown() const {
    if (decision_->is_open) return false;
    return decision_->choice.source == Source::model || decision_->choice.source == Source::both;
}

/// Whatever comes, the model's first line will not be shown.
bool CompletionGate::is_hopeless() const {
    const double least = leaves_open_ ? chances_.of_shown * probability_min_ : probability_min_;
    return line_count_ == 0 && !chosen_ && model_probability(evidence()) < least &&
           std::ranges::none_of(copies_, [&](const CopyOffer& copy) {
               return copy.fault == Fault::none && copy.text.starts_with(text_);
           });
}

/// Once: the model's first line is known, or that it has none.
void CompletionGate::decide(std::string_view sound) {
    const std::string_view first = sound.substr(0, sound.find('\n'));
    const ModelLine line = {.text = is_blank(first) ? sound : first, .tokens = evidence()};
    decision_ = {.choice = chosen_ ? *chosen_ : choose({&line, 1}, copies_, probability_min_),
                 .model_line = refused_line_.empty() ? std::string(line.text) : refused_line_,
                 .model_tokens = line.tokens,
                 .model_fault = model_fault_};
    double other = model_probability({.log_probability = evidence().rival_log_probability});
    for (const CopyOffer& copy : copies_) {
        if (copy.fault != Fault::none || copy.text == decision_->choice.text) continue;
        other = std::max(other, copy_probability(copy.evidence));
    }
    decision_->is_open = leaves_open_ && other > chances_.of_best * decision_->choice.probability &&
                         other >= chances_.of_shown * probability_min_;
}

std::string CompletionGate::release(bool is_end) {
    std::string_view sound = std::string_view(text_).substr(0, sound_);
    // Blank space at the end is noise, unless it keeps the suggestion off the code to its right.
    if (line_after_.empty() || is_blank(after_.front())) sound = trim_right(sound);
    if (is_blank(sound)) sound = {};
    if (!decision_) {
        if (sound.empty() && !is_end && !is_hopeless()) return {};
        decide(sound);
        const bool is_copy = !decision_->is_open && decision_->choice.source == Source::copy;
        if (is_copy) return decision_->choice.text;
    }
    if (!is_model_shown() || sound.size() <= released_) return {};
    std::string out(sound.substr(released_));
    released_ = sound.size();
    return out;
}

std::vector<CopyOffer> find_copy_offers(const CopySource& source,
                                        std::string_view language,
                                        const CancelToken& cancel) {
    std::vector<CopyOffer> offers;
    std::vector<CopyCandidate> copies = find_copies(source, {}, cancel);
    for (CopyCandidate& framed : find_framed_lines(source, {}, cancel)) {
        const auto same = std::ranges::find(copies, framed.text, &CopyCandidate::text);
        if (same == copies.end()) {
            copies.push_back(std::move(framed));
        } else {
            same->frame = framed.frame;
        }
    }
    for (CopyCandidate& copy : copies) {
        CompletionGate gate(
            {.before = source.before, .after = source.after, .language = language, .lines_max = 1});
        std::string text = gate.feed(copy.text, 1.0F).text;
        if (!gate.decision()) text = gate.finish(FinishReason::stop_token);
        const Decision& decision = *gate.decision();
        if (text.empty()) text = decision.model_line;
        if (text.empty()) continue;
        offers.push_back({std::move(text), std::move(copy), decision.model_fault});
    }
    return offers;
}

}  // namespace hearth::assist
