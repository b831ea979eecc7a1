// The evaluation measures what the model's logits say: against sums and greedy steps made by hand.
#include "training/evaluation/evaluation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"
#include "training/evaluation/product.h"

namespace {

using namespace hearth;
using namespace hearth::evaluation;

struct Bench {
    std::shared_ptr<const model::Model> model;
    std::unique_ptr<compute::Backend> backend = reference::make_reference_backend();
    std::unique_ptr<Evaluation> evaluation;

    explicit Bench(const test::TinyModelOptions& options = {}) : model(test::tiny_model(options)) {
        auto made = Evaluation::make(model, *backend);
        REQUIRE(made);
        evaluation = *std::move(made);
    }
    std::vector<float> logits(const std::vector<std::int32_t>& tokens) {
        test::ModelRunner runner(model, *backend, {.tokens_max = 64, .sequence_tokens_max = 512});
        return runner.run_chunks(tokens, 64);
    }
    std::vector<std::int32_t> encode(const std::string& text) {
        return *evaluation->tokenizer().encode(text);
    }
};

TEST_CASE("the bits of a window are those of its logits", "[training][evaluation]") {
    Bench bench;
    std::string text;
    for (int i = 0; i < 40; ++i) {
        text += "return value" + std::to_string(i) + "\n";
    }
    std::vector<std::int32_t> tokens = bench.encode(text);
    REQUIRE(tokens.size() > 300);  // more than two steps, the last one short
    const auto mark = bench.evaluation->tokenizer().special().file_sep;
    tokens.insert(tokens.begin(), *mark);
    tokens.push_back(*mark);
    const std::vector<float> logits = bench.logits(tokens);
    const auto vocab_size = static_cast<std::size_t>(bench.model->config().vocab_size);
    double bits = 0;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
        double sum = 0;
        for (std::size_t id = 0; id < vocab_size; ++id) {
            sum += std::exp2(static_cast<double>(logits[i * vocab_size + id]) / std::log(2.0));
        }
        const auto next = static_cast<std::size_t>(tokens[i + 1]);
        bits += std::log2(sum) - static_cast<double>(logits[i * vocab_size + next]) / std::log(2.0);
    }
    const std::vector<std::uint16_t> window(tokens.begin(), tokens.end());
    const auto count = bench.evaluation->count_bits(window);
    REQUIRE(count);
    CHECK(count->bits == Approx(bits).epsilon(1e-6));
    CHECK(count->tokens == static_cast<std::int64_t>(tokens.size()) - 1);
    CHECK(count->bytes == static_cast<std::int64_t>(text.size()));  // marks have none
    REQUIRE(count->is_top.size() == tokens.size() - 1);
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
        const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * vocab_size);
        const auto top = std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab_size)) - row;
        CHECK(count->is_top[i] == (top == tokens[i + 1]));
    }
}

TEST_CASE("what the model would write by itself is recalled", "[training][evaluation]") {
    Bench bench;
    const auto& special = bench.evaluation->tokenizer().special();
    const auto vocab_size = static_cast<std::ptrdiff_t>(bench.model->config().vocab_size);
    std::vector<std::int32_t> tokens = {*special.file_sep};
    const auto append = [&](const std::string& text) {
        const auto ids = bench.encode(text);
        tokens.insert(tokens.end(), ids.begin(), ids.end());
    };
    append("a.c\n");
    const std::size_t text_begin = tokens.size();
    for (int i = 0; tokens.size() < text_begin + kRecallPromptTokens; ++i) {
        append(std::to_string(i) + ",");
    }
    tokens.resize(text_begin + kRecallPromptTokens);
    while (tokens.size() < text_begin + kRecallPromptTokens + kRecallTokens) {
        const std::vector<float> logits = bench.logits(tokens);
        const auto row = logits.end() - vocab_size;
        tokens.push_back(static_cast<std::int32_t>(std::max_element(row, logits.end()) - row));
    }
    const auto recalled = [&] {
        const std::vector<std::uint16_t> window(tokens.begin(), tokens.end());
        const auto plain = bench.evaluation->find_plain(window);
        REQUIRE(plain);
        CHECK(plain->path == "a.c");
        CHECK(plain->text_begin == text_begin);
        return count_recalled(*plain, *bench.evaluation->count_bits(window));
    };
    CHECK(recalled() == kRecallTokens);
    // Another token at the seventh place ends it there; one before the prompt's end does not count.
    std::int32_t& seventh = tokens[text_begin + kRecallPromptTokens + 6];
    seventh = seventh == tokens[text_begin] ? tokens[text_begin + 1] : tokens[text_begin];
    CHECK(recalled() == 6);
}

TEST_CASE("only windows of code from a path line on are plain", "[training][evaluation]") {
    Bench bench;
    const auto& special = bench.evaluation->tokenizer().special();
    const auto path = bench.encode("dir/a.py\n");
    std::vector<std::uint16_t> window = {static_cast<std::uint16_t>(*special.file_sep)};
    window.insert(window.end(), path.begin(), path.end());
    const std::size_t text_begin = window.size();
    window.resize(text_begin + 120, 'x');
    const auto plain_with = [&](std::size_t at, std::int32_t token) {
        auto other = window;
        other[at] = static_cast<std::uint16_t>(token);
        return bench.evaluation->find_plain(other).has_value();
    };
    REQUIRE(bench.evaluation->find_plain(window));
    CHECK(bench.evaluation->find_plain(window)->path == "dir/a.py");
    CHECK_FALSE(plain_with(0, 'x'));
    CHECK_FALSE(plain_with(0, *special.repo_name));
    CHECK_FALSE(plain_with(text_begin, *special.fim_prefix));
    CHECK_FALSE(plain_with(text_begin + 110, *special.fim_middle));
    // Another file may begin behind what is recalled, and not before.
    CHECK(plain_with(text_begin + 100, *special.file_sep));
    CHECK(plain_with(text_begin + 100, *special.end_of_text));
    CHECK_FALSE(plain_with(text_begin + 99, *special.file_sep));
    window.resize(text_begin + 99);
    CHECK_FALSE(bench.evaluation->find_plain(window));
    CHECK_FALSE(bench.evaluation->find_plain({}));
    window.resize(text_begin - 1);
    CHECK_FALSE(bench.evaluation->find_plain(window));
}

TEST_CASE("windows that cannot be measured are refused", "[training][evaluation]") {
    Bench bench({.context_length = 128});
    const auto none = bench.evaluation->count_bits({});
    REQUIRE(none);
    CHECK(none->tokens == 0);
    const std::vector<std::uint16_t> one = {5};
    CHECK(bench.evaluation->count_bits(one)->tokens == 0);
    const std::vector<std::uint16_t> longer(129, 5);
    CHECK(bench.evaluation->count_bits(longer).error().code == ErrorCode::too_large);
    const std::vector<std::uint16_t> outside = {5, 60000};
    CHECK(bench.evaluation->count_bits(outside).error().code == ErrorCode::invalid_argument);
}

TEST_CASE("the model's line is its greedy text, and the chosen one is no less likely",
          "[training][evaluation]") {
    Bench bench;
    auto product = Product::make(bench.model, *bench.backend, {});
    REQUIRE(product);
    const LineCase cursor = {
        .path = "a/b.py", .language = "none", .prefix = "def f(x):\n    ", .suffix = "\nf(1)\n"};
    const auto& special = bench.evaluation->tokenizer().special();
    std::vector<std::int32_t> tokens = {*special.file_sep};
    const auto append = [&](const std::string& text, std::int32_t mark) {
        const auto ids = bench.encode(text);
        tokens.insert(tokens.end(), ids.begin(), ids.end());
        tokens.push_back(mark);
    };
    append(cursor.path + "\n", *special.fim_suffix);
    append(cursor.suffix, *special.fim_prefix);
    append(cursor.prefix, *special.fim_middle);
    const auto answer = (*product)->complete_line(cursor);
    REQUIRE(answer);
    const assist::Decision& decision = answer->decision;
    REQUIRE(!answer->model.empty());
    std::string expected;
    double log_probability = 0;
    const auto vocab_size = bench.model->config().vocab_size;
    while (expected.size() < answer->model.size()) {
        const std::vector<float> logits = bench.logits(tokens);
        const auto row = logits.end() - vocab_size;
        const auto next = static_cast<std::int32_t>(std::max_element(row, logits.end()) - row);
        double sum = 0;
        for (auto logit = row; logit != logits.end(); ++logit) {
            sum += std::exp(static_cast<double>(*logit - row[next]));
        }
        log_probability -= std::log(sum);
        expected += bench.evaluation->tokenizer().token_bytes(next);
        tokens.push_back(next);
    }
    CHECK(expected.starts_with(answer->model));
    CHECK(decision.choice.source == assist::Source::model);
    CHECK(decision.model_line == decision.choice.text);
    // Of the greedy text's tokens before the one that ends it.
    CHECK(decision.model_tokens.log_probability >= log_probability - 20.0);
    CHECK(decision.model_tokens.log_probability < 0.0);
}

TEST_CASE("the choice and the copies are the product's own", "[training][evaluation]") {
    Bench bench;
    auto product = Product::make(bench.model, *bench.backend, {});
    REQUIRE(product);
    const auto answer = (*product)->complete_line(
        {.path = "a.c", .language = "c", .prefix = "close(first);\nopen(a);\nclo", .suffix = "\n"});
    REQUIRE(answer);
    REQUIRE(answer->copies.size() == 1);
    CHECK(answer->copies[0].text == "se(first);");
    CHECK(answer->copies[0].fault == assist::Fault::none);
    const double copy = assist::copy_probability(answer->copies[0].evidence);
    const assist::Choice& choice = answer->decision.choice;
    CHECK(choice.probability >= copy);
    CHECK((choice.source == assist::Source::copy) == (choice.text == "se(first);"));

    const LineAnswer alone = copy_line(
        {.path = "a.c", .language = "c", .prefix = "close(first);\nopen(a);\nclo", .suffix = "\n"});
    CHECK(alone.decision.choice.text == "se(first);");
    CHECK(alone.decision.choice.probability == copy);
    CHECK(alone.decision.model_line.empty());
}

TEST_CASE("a cursor that no prompt can hold is refused", "[training][evaluation]") {
    Bench small({.context_length = 64});
    auto product = Product::make(small.model, *small.backend, {});
    REQUIRE(product);
    const auto refused = (*product)->complete_line(
        {.path = std::string(400, 'x'), .language = "c", .prefix = "int a = ", .suffix = "\n"});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::too_large);
}

}  // namespace
