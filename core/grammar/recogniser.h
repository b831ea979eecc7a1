// Recogniser: reads bytes and knows which may follow. What has been found out about a state and a
// byte is kept, so that most steps are a look into a table. Private to core/grammar.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/grammar/grammar.h"

namespace hearth::grammar {

/// Thread: one at a time.
class Recogniser {
  public:
    /// Names what has been read so far, as far as it matters for what may follow.
    using State = std::int32_t;
    static constexpr State kDead = -1;  ///< the bytes do not fit

    explicit Recogniser(std::shared_ptr<const Grammar> grammar);

    [[nodiscard]] State start();
    /// `state` is not kDead.
    [[nodiscard]] State next(State state, std::uint8_t byte);
    /// Whether the text may end here.
    [[nodiscard]] bool is_complete(State state) const;

    [[nodiscard]] std::size_t state_count() const { return states_.size(); }
    /// Forgets all but `state`, and returns its new name.
    [[nodiscard]] State forget_others(State state);

  private:
    /// A place in the grammar, and where to go on at the end of its rule.
    struct Frame {
        std::int32_t symbol;
        std::int32_t parent;  ///< a frame; kRoot: the text's end
    };
    static constexpr std::int32_t kRoot = -1;
    static constexpr std::int32_t kUnknown = -2;
    using Frames = std::vector<std::int32_t>;

    struct Known {
        Frames frames;  ///< ascending, each at bytes; kRoot: may end
        std::unique_ptr<std::array<State, 256>> next;
    };

    std::int32_t frame(std::int32_t symbol, std::int32_t parent);
    std::int32_t frame_behind(const Frame& frame);
    void expand(Frames& open, Frames& out);
    State state_of(Frames frames);

    const std::shared_ptr<const Grammar> grammar_;
    std::vector<Frame> frames_;
    std::unordered_map<std::uint64_t, std::int32_t> frame_ids_;
    std::vector<Known> states_;
    std::map<Frames, State> state_ids_;
};

}  // namespace hearth::grammar
