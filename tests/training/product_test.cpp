// What the evaluation calls the product's answers is what the product's own parts say, on a tiny
// model that writes nonsense.
#include "training/evaluation/product.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/assist/assist.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace {

using namespace hearth;
using namespace hearth::evaluation;

struct ProductBench {
    std::shared_ptr<const model::Model> model = test::tiny_model();
    std::unique_ptr<compute::Backend> backend = reference::make_reference_backend();
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer =
        *tokenizer::Tokenizer::from_gguf(model->file());
    std::unique_ptr<Product> product = *Product::make(model, *backend, {});

    /// The greedy text after a prompt that is made by hand: special tokens by name, text apart.
    std::string greedy(const std::vector<std::string>& parts, std::size_t bytes_min) {
        std::vector<std::int32_t> tokens;
        for (const std::string& part : parts) {
            if (const auto special = tokenizer->find(part)) {
                tokens.push_back(*special);
                continue;
            }
            const auto ids = *tokenizer->encode(part);
            tokens.insert(tokens.end(), ids.begin(), ids.end());
        }
        std::string text;
        const auto vocab_size = model->config().vocab_size;
        while (text.size() < bytes_min) {
            test::ModelRunner runner(
                model, *backend, {.tokens_max = 64, .sequence_tokens_max = 512});
            const std::vector<float> logits = runner.run_chunks(tokens, 64);
            const auto row = logits.end() - vocab_size;
            tokens.push_back(static_cast<std::int32_t>(std::max_element(row, logits.end()) - row));
            text += tokenizer->token_bytes(tokens.back());
        }
        return text;
    }
};

TEST_CASE("a block is the model's lines as its gate cuts them", "[training][product]") {
    ProductBench bench;
    int blocks = 0;
    for (int i = 0; i < 12; ++i) {
        const std::string before = "x" + std::to_string(i) + " = 1\n";
        LineCase cursor = {.path = "a.none", .language = "none", .prefix = before, .suffix = "\n"};
        const auto one = bench.product->complete_line(cursor);
        REQUIRE(one);
        cursor.lines_max = 3;
        const auto three = bench.product->complete_line(cursor);
        REQUIRE(three);
        CHECK(one->model.find('\n') == std::string::npos);
        CHECK(three->model.starts_with(one->model));
        CHECK(three->decision.model_line == one->decision.model_line);
        const auto ends = std::ranges::count(three->model, '\n');
        CHECK(ends <= 2);
        if (ends == 0) continue;
        ++blocks;
        const std::string said = bench.greedy({"<|file_sep|>",
                                               "a.none\n",
                                               "<|fim_suffix|>",
                                               "\n",
                                               "<|fim_prefix|>",
                                               before,
                                               "<|fim_middle|>"},
                                              three->model.size());
        CHECK(said.starts_with(three->model));
    }
    CHECK(blocks > 0);
}

TEST_CASE("open files give copies", "[training][product]") {
    LineCase cursor = {.path = "a.c",
                       .language = "c",
                       .prefix = "    total_of_all += ",
                       .suffix = "\n",
                       .project = "p",
                       .open_files = {{"b.c", "    total_of_all += count_them(all);\n"}}};
    CHECK(copy_line(cursor).product == "count_them(all);");
    cursor.open_files.clear();
    CHECK(copy_line(cursor).product.empty());
}

TEST_CASE("the model is shown the part of an open file that is like the place of the cursor",
          "[training][product]") {
    const SteadyClock clock;
    const auto none = OpenContext::make(HEARTH_BINARY_DIR "/lib", clock);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::not_found);
    const auto context = OpenContext::make(HEARTH_BINARY_DIR "/lib/hearth/plugins", clock);
    REQUIRE(context);
    LineCase cursor = {.path = "src/a.c",
                       .language = "none",
                       .prefix = "int count_them(struct list* all) {\n",
                       .suffix = "\n}\n"};
    CHECK((*context)->gather(cursor).empty());
    cursor.open_files = {{"src/b.c", "int count_them(struct list* all);\n"}, {"src/z.c", "abc\n"}};
    const auto pieces = (*context)->gather(cursor);
    REQUIRE(pieces.size() == 1);
    CHECK(pieces.front().path == "src/b.c");
    CHECK(pieces.front().text == "int count_them(struct list* all);\n");

    ProductBench bench;
    const auto product =
        Product::make(bench.model, *bench.backend, HEARTH_BINARY_DIR "/lib/hearth/plugins");
    REQUIRE(product);
    cursor.project = "p";
    const auto answer = (*product)->complete_line(cursor);
    REQUIRE(answer);
    REQUIRE_FALSE(answer->model.empty());
    const std::string said = bench.greedy({"<|repo_name|>",
                                           "p",
                                           "<|file_sep|>",
                                           "src/b.c\n",
                                           "int count_them(struct list* all);\n",
                                           "<|file_sep|>",
                                           "src/a.c\n",
                                           "<|fim_suffix|>",
                                           "\n}\n",
                                           "<|fim_prefix|>",
                                           "int count_them(struct list* all) {\n",
                                           "<|fim_middle|>"},
                                          answer->model.size());
    CHECK(said.starts_with(answer->model));
    const auto alone = bench.product->complete_line(cursor);
    REQUIRE(alone);
    CHECK(alone->model != answer->model);
}

TEST_CASE("what is shown depends on its probability", "[training][product]") {
    ProductBench bench;
    const assist::AssistLimits limits;
    int silent = 0;
    for (int i = 0; i < 10; ++i) {
        const auto answer = bench.product->complete_line({.path = "a.c",
                                                          .language = "c",
                                                          .prefix = "x" + std::to_string(i) + " = ",
                                                          .suffix = "\n"});
        REQUIRE(answer);
        const assist::Choice& choice = answer->decision.choice;
        INFO(choice.probability << " " << choice.text);
        CHECK(answer->product == choice.text);
        CHECK(answer->automatic.empty() ==
              (choice.probability < limits.automatic_probability_min || answer->product.empty()));
        CHECK(answer->invoked.empty() ==
              (choice.probability < limits.invoked_probability_min || answer->product.empty()));
        if (answer->decision.model_fault != assist::Fault::none) {
            CHECK(choice.source != assist::Source::model);
            CHECK_FALSE(answer->model.empty());
        }
        silent += answer->automatic.empty() ? 1 : 0;
    }
    CHECK(silent > 0);
}

TEST_CASE("an explanation is greedy text after the product's prompt", "[training][product]") {
    ProductBench bench;
    const auto answer =
        bench.product->explain({.path = "a.py", .code = "def f(x):\n    return x\n"});
    REQUIRE(answer);
    REQUIRE(answer->answer.size() > 8);
    CHECK(answer->confidence > 0.0F);
    CHECK(answer->confidence <= 1.0F);
    const std::string start = answer->answer.substr(0, 8);
    const std::string said =
        bench.greedy({"<|explain|>", "a.py\n", "def f(x):\n    return x\n", "<|fim_middle|>"}, 24);
    CHECK(said.find(start) <= 2);  // blanks at its start are dropped
    CHECK((answer->shown.empty() || answer->answer.starts_with(answer->shown)));
}

TEST_CASE("a fix is asked for as plugins/fix does", "[training][product]") {
    ProductBench bench;
    std::string before;
    std::string after;
    for (int i = 0; i < 14; ++i) {
        before += "a" + std::to_string(i) + "\n";
        after += "b" + std::to_string(i) + "\n";
    }
    const auto answer = bench.product->fix({.path = "a.py",
                                            .language = "python",
                                            .before = before,
                                            .line = "  x = (",
                                            .after = after});
    REQUIRE(answer);
    // Ten lines above and below: nothing farther away matters.
    const auto fix_between = [&](const char* first, const char* end) {
        return bench.product->fix({.path = "a.py",
                                   .language = "python",
                                   .before = before.substr(before.find(first)),
                                   .line = "  x = (",
                                   .after = after.substr(0, after.find(end))});
    };
    const auto near = fix_between("a4", "b10");
    REQUIRE(near);
    CHECK(fix_between("a5", "b10")->found.probability != answer->found.probability);
    CHECK(fix_between("a4", "b9")->found.probability != answer->found.probability);
    CHECK(near->answer == answer->answer);
    CHECK(near->found.probability == Approx(answer->found.probability).epsilon(1e-6));
    const std::string said = bench.greedy({"<|fix|>",
                                           "a.py\n",
                                           before.substr(before.find("a4")),
                                           "<|bug|>",
                                           "  x = (\n" + after.substr(0, after.find("b10")),
                                           "<|fim_middle|>"},
                                          4);
    const std::string line = answer->answer.substr(answer->answer.find_first_not_of(' '));
    CHECK(said.find(line.substr(0, 3)) != std::string::npos);
    const assist::FoundFix& found = answer->found;
    CHECK_FALSE(found.line.empty());
    CHECK((found.probability > 0.0 && found.probability < found.probability_if_wrong));
    const assist::AssistLimits limits;
    CHECK(answer->shown == (found.probability >= limits.fix_probability_min ? found.line : ""));
    CHECK(answer->shown_if_wrong ==
          (found.probability_if_wrong >= limits.diagnosed_fix_probability_min ? found.line : ""));
}

}  // namespace
