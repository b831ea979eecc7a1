#include "core/engine/scheduler.h"

#include <string>

#include <catch2/catch.hpp>

namespace hearth::engine {
namespace {

constexpr Priority kKeystroke = Priority::keystroke;
constexpr Priority kFix = Priority::fix;
constexpr Priority kChat = Priority::chat;
constexpr Priority kBackground = Priority::background;

/// A scheduler over a cache without rows; steps are computed by saying so.
class Fixture {
  public:
    explicit Fixture(SchedulerLimits limits, std::int32_t block_count = 64)
        : cache(block_count, [](std::int32_t, std::int32_t) {}),
          scheduler(cache, limits),
          limits_(limits) {}

    /// Enqueues a prompt in which no two sequences have a token in common.
    Sequence& add(Priority priority, std::int32_t token_count) {
        auto sequence = std::make_unique<Sequence>();
        sequence->ticket.id = ++arrivals_;
        sequence->request.priority = priority;
        sequence->tokens.assign(static_cast<std::size_t>(token_count),
                                static_cast<std::int32_t>(arrivals_));
        Sequence& added = *sequence;
        scheduler.enqueue(std::move(sequence));
        return added;
    }

    /// One step of the engine. The answer lists who took part: "1:4 3:1" is four tokens of the
    /// first arrival and one of the third.
    std::string step(Pace pace = Pace::idle, std::int32_t typing_tokens = Scheduler::kAll) {
        scheduler.admit();
        std::string text;
        std::int32_t prefill_tokens = 0;
        for (const Share& share : scheduler.next_batch(pace, typing_tokens)) {
            Sequence& sequence = *share.sequence;
            if (sequence.uncomputed_count() > 1) prefill_tokens += share.token_count;
            text += (text.empty() ? "" : " ") + std::to_string(sequence.ticket.id) + ":" +
                    std::to_string(share.token_count);
            cache.commit(sequence.tokens,
                         sequence.table,
                         sequence.table.computed_tokens + share.token_count);
            if (sequence.uncomputed_count() == 0) sequence.tokens.push_back(100 + ++picked_);
        }
        REQUIRE(prefill_tokens <= limits_.prefill_tokens_per_step);
        check_rules();
        return text;
    }

    void check_rules() {
        std::vector<const BlockTable*> tables;
        for (const auto* queue : {&scheduler.waiting(), &scheduler.running()}) {
            for (std::size_t i = 0; i < queue->size(); ++i) {
                tables.push_back(&(*queue)[i]->table);
                if (i > 0) REQUIRE(is_before(*(*queue)[i - 1], *(*queue)[i]));
            }
        }
        for (const auto& sequence : scheduler.waiting()) {
            REQUIRE(sequence->table.blocks.empty());
        }
        REQUIRE(cache.is_consistent(tables));
    }

    KvCache cache;
    Scheduler scheduler;

  private:
    const SchedulerLimits limits_;
    std::uint64_t arrivals_ = 0;
    std::int32_t picked_ = 0;
};

struct Arrival {
    int before_step;
    Priority priority;
    std::int32_t token_count;
};

struct Case {
    const char* name;
    SchedulerLimits limits;
    std::vector<Arrival> arrivals;
    std::vector<std::string> steps;
    Pace pace = Pace::idle;
    std::int32_t typing_tokens = Scheduler::kAll;
};

TEST_CASE("requests in, steps out", "[engine][scheduler]") {
    const SchedulerLimits usual{.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 8};
    const Case cases[] = {
        {"a prompt, then token by token", usual, {{0, kChat, 5}}, {"1:5", "1:1", "1:1"}},
        {"a long prompt comes in pieces", usual, {{0, kChat, 19}}, {"1:8", "1:8", "1:3", "1:1"}},
        {"a prompt of one token is no prefill", usual, {{0, kChat, 1}}, {"1:1", "1:1"}},
        {"equal ones share a step in order of arrival",
         usual,
         {{0, kChat, 5}, {0, kChat, 5}},
         {"1:5 2:3", "1:1 2:2", "1:1 2:1"}},
        {"those who decode go first and cost the prompts nothing",
         usual,
         {{0, kChat, 2}, {1, kChat, 20}},
         {"1:2", "1:1 2:8", "1:1 2:8", "1:1 2:4", "1:1 2:1"}},
        {"a better prompt goes before one that is half done, which waits",
         usual,
         {{0, kChat, 20}, {1, kKeystroke, 10}},
         {"1:8", "2:8", "2:2", "2:1", "2:1"}},
        {"a worse prompt has its turn after seven steps",
         usual,
         {{0, kKeystroke, 2}, {0, kChat, 20}},
         {"1:2", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1 2:8", "1:1", "1:1"}},
        {"a background prompt has none beside a keystroke",
         usual,
         {{0, kKeystroke, 2}, {0, kBackground, 20}},
         {"1:2", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1"}},
        {"but beside a chat",
         usual,
         {{0, kChat, 2}, {0, kBackground, 20}},
         {"1:2", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1 2:8", "1:1"}},
        {"a chat has its turn beside both",
         usual,
         {{0, kKeystroke, 2}, {0, kChat, 5}, {0, kBackground, 20}},
         {"1:2", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1", "1:1 2:5", "1:1"}},
        {"a background prompt comes in small pieces while somebody types",
         {.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 100},
         {{0, kBackground, 150}, {1, kChat, 50}, {2, kBackground, 150}},
         {"1:64", "2:50", "2:1", "2:1", "2:1", "2:1", "2:1", "2:1", "2:1 1:64"},
         Pace::typing},
        {"on a device all prompts but keystrokes come in small pieces while somebody types",
         {.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 100},
         {{0, kChat, 50}, {0, kChat, 60}, {1, kKeystroke, 150}},
         {"1:40", "3:100", "3:50", "3:1", "3:1", "3:1", "3:1", "3:1", "3:1 1:10 2:30"},
         Pace::typing,
         40},
        {"and of any size while nobody does",
         {.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 100},
         {{0, kChat, 50}, {0, kChat, 60}},
         {"1:50 2:50", "1:1 2:10"},
         Pace::idle,
         40},
        {"beside a keystroke worse ones decode in one step of eight",
         usual,
         {{0, kChat, 2}, {0, kBackground, 1}, {1, kKeystroke, 9}},
         {"2:1 1:2", "3:8", "3:1", "3:1", "3:1", "3:1", "3:1", "3:1", "3:1 1:1 2:1", "3:1"}},
        {"and have that step together with the prompts",
         usual,
         {{0, kFix, 2}, {1, kKeystroke, 2}, {2, kChat, 20}},
         {"1:2", "2:2", "2:1", "2:1", "2:1", "2:1", "2:1", "2:1", "2:1 1:1 3:8", "2:1"}},
        {"beside a fix they decode in every step",
         usual,
         {{0, kChat, 2}, {1, kFix, 9}},
         {"1:2", "1:1 2:8", "2:1 1:1", "2:1 1:1"}},
        {"a prompt that is held back has a part of a full step",
         usual,
         {{0, kKeystroke, 100}, {0, kFix, 3}, {0, kChat, 20}},
         {"1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:6 2:2", "1:8"}},
        {"beside other prompts than a keystroke's too",
         usual,
         {{0, kChat, 100}, {0, kBackground, 9}},
         {"1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:6 2:2", "1:8"}},
        {"a background prompt has none of a keystroke's",
         usual,
         {{0, kKeystroke, 100}, {0, kBackground, 20}},
         {"1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:8", "1:8"}},
        {"the part is no larger than a piece may be while somebody types",
         {.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 100},
         {{0, kKeystroke, 850}, {0, kChat, 90}},
         {"1:100", "1:100", "1:100", "1:100", "1:100", "1:100", "1:100", "1:90 2:10"},
         Pace::typing,
         10},
        {"nobody makes way for an equal",
         {.waiting_max = 8, .sequences_max = 1, .prefill_tokens_per_step = 8},
         {{0, kChat, 2}, {1, kChat, 2}},
         {"1:2", "1:1", "1:1", "1:1"}},
        {"when all slots are taken the last of the worst makes way",
         {.waiting_max = 8, .sequences_max = 3, .prefill_tokens_per_step = 8},
         {{0, kChat, 2}, {0, kBackground, 1}, {0, kBackground, 1}, {1, kKeystroke, 2}},
         {"2:1 3:1 1:2", "4:2", "4:1"}},
        {"the queue is in order of priority",
         {.waiting_max = 8, .sequences_max = 1, .prefill_tokens_per_step = 8},
         {{0, kBackground, 2}, {0, kChat, 2}, {0, kFix, 2}, {0, kKeystroke, 2}},
         {"4:2", "4:1"}},
    };
    for (const Case& item : cases) {
        INFO(item.name);
        Fixture fixture(item.limits);
        for (std::size_t step = 0; step < item.steps.size(); ++step) {
            for (const Arrival& arrival : item.arrivals) {
                if (arrival.before_step == static_cast<int>(step)) {
                    fixture.add(arrival.priority, arrival.token_count);
                }
            }
            INFO("step " << step);
            CHECK(fixture.step(item.pace, item.typing_tokens) == item.steps[step]);
        }
    }
}

TEST_CASE("who made way goes on where it was when there is room again", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 1, .prefill_tokens_per_step = 64});
    fixture.add(kChat, 40);
    CHECK(fixture.step() == "1:40");
    CHECK(fixture.step() == "1:1");
    Sequence& keystroke = fixture.add(kKeystroke, 4);
    CHECK(fixture.step() == "2:4");
    CHECK(fixture.scheduler.waiting().size() == 1);
    fixture.scheduler.retire(keystroke, Rows::keep);
    CHECK(fixture.step() == "1:1");
}

TEST_CASE("a keystroke gets the room of those who are worse", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 64}, 4);
    fixture.add(kChat, 30);
    fixture.add(kChat, 30);
    CHECK(fixture.step() == "1:30 2:30");
    fixture.add(kKeystroke, 20);
    CHECK(fixture.step() == "3:20");
    CHECK(fixture.scheduler.waiting().front()->ticket.id == 2);
}

TEST_CASE("who was held back goes on as soon as the keystroke has ended", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 8});
    fixture.add(kChat, 2);
    CHECK(fixture.step() == "1:2");
    const Sequence& keystroke = fixture.add(kKeystroke, 2);
    CHECK(fixture.step() == "2:2");
    CHECK(fixture.step() == "2:1");
    fixture.scheduler.retire(keystroke, Rows::keep);
    CHECK(fixture.step() == "1:1");
    CHECK(fixture.step() == "1:1");
}

TEST_CASE("a keystroke's step tries its own draft alone", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8,
                     .sequences_max = 4,
                     .prefill_tokens_per_step = 8,
                     .draft_tokens_per_step = 4});
    Sequence& chat = fixture.add(kChat, 2);
    CHECK(fixture.step() == "1:2");
    const auto step_with_drafts = [&](Sequence* keystroke) {
        chat.draft = {7, 8};
        if (keystroke != nullptr) keystroke->draft = {7};
        CHECK(fixture.scheduler.may_draft(chat) == (keystroke == nullptr));
        std::string text;
        for (const Share& share : fixture.scheduler.next_batch()) {
            text += std::to_string(share.sequence->ticket.id) + ":" +
                    std::to_string(share.token_count) + " ";
        }
        return text;
    };
    CHECK(step_with_drafts(nullptr) == "1:3 ");
    chat.draft.clear();
    Sequence& keystroke = fixture.add(kKeystroke, 2);
    CHECK(fixture.step() == "2:2");
    CHECK(fixture.scheduler.may_draft(keystroke));
    for (int step = 0; step < 6; ++step) {
        CHECK(step_with_drafts(&keystroke) == "2:2 ");
    }
    CHECK(step_with_drafts(&keystroke) == "2:2 1:1 ");
    CHECK(chat.draft.empty());
}

TEST_CASE("nobody overtakes a better one that does not fit", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 64}, 4);
    fixture.add(kFix, 20);
    CHECK(fixture.step() == "1:20");
    fixture.add(kFix, 40);
    fixture.add(kChat, 5);
    CHECK(fixture.step() == "1:1");
    CHECK(fixture.scheduler.waiting().size() == 2);
}

TEST_CASE("when room ends the last one makes way, and the first always advances",
          "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 64}, 4);
    Sequence& first = fixture.add(kChat, 31);
    fixture.add(kChat, 31);
    CHECK(fixture.step() == "1:31 2:31");
    CHECK(fixture.step() == "1:1 2:1");
    for (int step = 0; step < 32; ++step) {
        INFO("step " << step);
        CHECK(fixture.step() == "1:1");
    }
    CHECK(fixture.cache.idle_count() == 0);
    fixture.scheduler.retire(first, Rows::keep);
    // It comes back with its 33 tokens, of which those that were overwritten are computed again.
    CHECK(fixture.step() == "2:33");
    CHECK(fixture.step() == "2:1");
}

TEST_CASE("the last one makes way for itself when nobody else is left to", "[engine][scheduler]") {
    Fixture fixture({.waiting_max = 8, .sequences_max = 4, .prefill_tokens_per_step = 64}, 4);
    fixture.add(kFix, 20);
    fixture.add(kChat, 32);
    CHECK(fixture.step() == "1:20");
    fixture.step();
    while (fixture.scheduler.running().size() == 2) {
        fixture.step();
    }
    CHECK(fixture.scheduler.waiting().front()->ticket.id == 2);
    CHECK(fixture.step() == "1:1");
}

}  // namespace
}  // namespace hearth::engine
