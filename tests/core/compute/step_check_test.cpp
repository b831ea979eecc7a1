#include "core/compute/step_check.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::compute {
namespace {

/// Two sequences in a cache of ten blocks, sound; tests break one thing in it.
struct Step {
    std::vector<std::int32_t> tokens = {5, 6, 7};
    std::vector<std::int32_t> positions = {15, 16, 3};
    std::vector<std::int32_t> sequence_of = {0, 0, 1};
    std::vector<std::int32_t> first = {9, 0};
    std::vector<std::int32_t> second = {4};
    std::vector<std::int32_t> logit_rows = {1, 2};
    std::vector<float> rows;
    StepLimits limits{.tokens_max = 3, .vocab_size = 8, .block_count = 10, .token_least = 0};

    [[nodiscard]] std::string fault() const {
        const std::vector<SequenceView> sequences = {{first}, {second}};
        const char* broken = broken_promise({.tokens = tokens,
                                             .positions = positions,
                                             .sequence_of = sequence_of,
                                             .sequences = sequences,
                                             .logit_rows = logit_rows,
                                             .rows = rows},
                                            limits);
        return broken == nullptr ? "" : broken;
    }
};

template <typename Break>
std::string fault_after(Break break_it) {
    Step step;
    break_it(step);
    return step.fault();
}

TEST_CASE("a sound step breaks no promise", "[compute][step_check]") {
    CHECK(Step().fault().empty());
    check_step({.tokens = std::vector<std::int32_t>{1},
                .positions = std::vector<std::int32_t>{0},
                .sequence_of = std::vector<std::int32_t>{0},
                .sequences = std::vector<SequenceView>{{std::vector<std::int32_t>{0}}},
                .logit_rows = {}},
               {.tokens_max = 1, .vocab_size = 2, .block_count = 1});
}

TEST_CASE("each broken promise is named", "[compute][step_check]") {
    CHECK(fault_after([](Step& s) { s.tokens.clear(); }) == "a step has a token");
    CHECK(fault_after([](Step& s) { s.limits.tokens_max = 2; }) ==
          "a step has at most the Plan's tokens");
    const std::string both = "each token has a position and a sequence";
    CHECK(fault_after([](Step& s) { s.positions.pop_back(); }) == both);
    CHECK(fault_after([](Step& s) { s.sequence_of.push_back(1); }) == both);
    const std::string rows = "each token has a row where the Plan takes rows in";
    CHECK(fault_after([](Step& s) { s.limits.rows_in_dim = 2; }) == rows);
    CHECK(fault_after([](Step& s) { s.rows.resize(3); }) == rows);
    CHECK(fault_after([](Step& s) {
              s.limits.rows_in_dim = 2;
              s.rows.resize(6);
          }).empty());
    const std::string token = "a token is one of the vocabulary or names a row of the step before";
    CHECK(fault_after([](Step& s) { s.tokens[2] = 8; }) == token);
    CHECK(fault_after([](Step& s) { s.tokens[0] = -1; }) == token);
    CHECK(fault_after([](Step& s) { s.positions[1] = -1; }) == "a position is at least 0");
    const std::string sequence = "a token's sequence is one of the step's";
    CHECK(fault_after([](Step& s) { s.sequence_of[2] = 2; }) == sequence);
    CHECK(fault_after([](Step& s) { s.sequence_of[2] = -1; }) == sequence);
    CHECK(fault_after([](Step& s) { s.first.pop_back(); }) == "a token's position has a block");
    const std::string block = "a block is one of the cache's";
    CHECK(fault_after([](Step& s) { s.first[0] = 10; }) == block);
    CHECK(fault_after([](Step& s) { s.second[0] = -1; }) == block);
    const std::string row = "a row of logits is of one of the step's tokens";
    CHECK(fault_after([](Step& s) { s.logit_rows[1] = 3; }) == row);
    CHECK(fault_after([](Step& s) { s.logit_rows[0] = -1; }) == row);
    const std::string order = "rows of logits are in the order of their tokens";
    CHECK(fault_after([](Step& s) { s.logit_rows = {1, 0}; }) == order);
    CHECK(fault_after([](Step& s) { s.logit_rows = {1, 1}; }) == order);
    CHECK(fault_after([](Step& s) {
              s.logit_rows = {0, 1, 2, 2};
          }) == "a token has at most one row of logits");
}

TEST_CASE("a token may name a row of the step before, where that has it", "[compute][step_check]") {
    Step step;
    step.limits.token_least = -2;
    step.tokens = {StepQueue::token_of_row(0), StepQueue::token_of_row(1), 7};
    CHECK(step.fault().empty());
    step.tokens[2] = StepQueue::token_of_row(2);
    CHECK(step.fault() == "a token is one of the vocabulary or names a row of the step before");
}

}  // namespace
}  // namespace hearth::compute
