#include "core/grammar/recogniser.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace hearth::grammar {

using Kind = Symbol::Kind;

Recogniser::Recogniser(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {}

std::int32_t Recogniser::frame(std::int32_t symbol, std::int32_t parent) {
    const std::uint64_t key =
        (static_cast<std::uint64_t>(static_cast<std::uint32_t>(symbol)) << 32U) |
        static_cast<std::uint32_t>(parent);
    const auto [found, is_new] =
        frame_ids_.try_emplace(key, static_cast<std::int32_t>(frames_.size()));
    if (is_new) frames_.push_back({symbol, parent});
    return found->second;
}

/// What follows one symbol of a rule: the next one, or at the end what follows the rule, so that a
/// rule that ends with itself does not pile up frames.
std::int32_t Recogniser::frame_behind(const Frame& frame) {
    const std::int32_t next = frame.symbol + 1;
    const bool is_last = grammar_->symbols()[static_cast<std::size_t>(next)].kind == Kind::end;
    return is_last ? frame.parent : this->frame(next, frame.parent);
}

/// Follows `open` down to bytes, or to the text's end.
void Recogniser::expand(Frames& open, Frames& out) {
    std::unordered_set<std::int32_t> seen(open.begin(), open.end());
    while (!open.empty()) {
        const std::int32_t id = open.back();
        open.pop_back();
        if (id == kRoot) {
            out.push_back(kRoot);
            continue;
        }
        const Frame at = frames_[static_cast<std::size_t>(id)];
        const Symbol symbol = grammar_->symbols()[static_cast<std::size_t>(at.symbol)];
        const auto follow = [&](std::int32_t next) {
            if (seen.insert(next).second) open.push_back(next);
        };
        if (symbol.kind == Kind::bytes) {
            out.push_back(id);
        } else if (symbol.kind == Kind::end) {
            follow(at.parent);
        } else {
            const std::int32_t behind = frame_behind(at);
            for (const std::int32_t begin : grammar_->alternatives(symbol.index)) {
                follow(frame(begin, behind));
            }
        }
    }
}

Recogniser::State Recogniser::state_of(Frames frames) {
    if (frames.empty()) return kDead;
    std::ranges::sort(frames);
    const auto [found, is_new] =
        state_ids_.try_emplace(std::move(frames), static_cast<State>(states_.size()));
    if (is_new) states_.push_back({found->first, nullptr});
    return found->second;
}

Recogniser::State Recogniser::start() {
    Frames open;
    Frames frames;
    for (const std::int32_t begin : grammar_->alternatives(0)) {
        open.push_back(frame(begin, kRoot));
    }
    expand(open, frames);
    return state_of(std::move(frames));
}

Recogniser::State Recogniser::next(State state, std::uint8_t byte) {
    auto& table = states_[static_cast<std::size_t>(state)].next;
    if (table == nullptr) {
        table = std::make_unique<std::array<State, 256>>();
        table->fill(kUnknown);
    }
    if ((*table)[byte] != kUnknown) return (*table)[byte];
    Frames open;
    Frames frames;
    // By index: new frames move the old ones.
    const Frames at = states_[static_cast<std::size_t>(state)].frames;
    for (const std::int32_t id : at) {
        if (id == kRoot) continue;
        const Frame frame = frames_[static_cast<std::size_t>(id)];
        const Symbol symbol = grammar_->symbols()[static_cast<std::size_t>(frame.symbol)];
        if (!grammar_->set(symbol.index)[byte]) continue;
        const std::int32_t behind = frame_behind(frame);
        if (std::ranges::find(open, behind) == open.end()) open.push_back(behind);
    }
    expand(open, frames);
    const State found = state_of(std::move(frames));
    (*states_[static_cast<std::size_t>(state)].next)[byte] = found;
    return found;
}

bool Recogniser::is_complete(State state) const {
    return states_[static_cast<std::size_t>(state)].frames.front() == kRoot;
}

Recogniser::State Recogniser::forget_others(State state) {
    const Frames kept = states_[static_cast<std::size_t>(state)].frames;
    const std::vector<Frame> old = std::exchange(frames_, {});
    frame_ids_.clear();
    states_.clear();
    state_ids_.clear();
    // A frame's parents first.
    std::unordered_map<std::int32_t, std::int32_t> renamed = {{kRoot, kRoot}};
    Frames frames;
    for (const std::int32_t id : kept) {
        Frames chain;
        for (std::int32_t at = id; !renamed.contains(at);
             at = old[static_cast<std::size_t>(at)].parent) {
            chain.push_back(at);
        }
        for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
            const Frame& frame = old[static_cast<std::size_t>(*at)];
            renamed[*at] = this->frame(frame.symbol, renamed.at(frame.parent));
        }
        frames.push_back(renamed.at(id));
    }
    return state_of(std::move(frames));
}

}  // namespace hearth::grammar
