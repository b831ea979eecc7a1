#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "training/samples/block_packer.h"
#include "training/samples/code_pieces.h"
#include "training/samples/neighbours.h"

namespace {

using namespace hearth::training;

constexpr std::size_t kWindow = 128;

std::string code_text(int functions) {
    std::string text;
    for (int i = 0; i < functions; ++i) {
        text += "int f" + std::to_string(i) + "(int a) {\n    return a;\n}\n\n";
    }
    return text;
}

class ShardsFixture {
  public:
    ShardsFixture()
        : file_(*TokenizerFile::make("qwen2", {}, hearth_special_names())),
          encoder_(file_),
          formats_(*SampleFormats::make(encoder_)) {}

    std::string text(const Tokens& tokens) const {
        std::string text;
        for (const TokenId token : tokens) {
            text += file_.token_bytes(token);
        }
        return text;
    }

  protected:
    TokenizerFile file_;
    Encoder encoder_;
    SampleFormats formats_;
    std::vector<CorpusFile> files_ = {
        {.language = "c", .package = "p", .path = "a.c", .text = code_text(40)},
        {.language = "c", .package = "p", .path = "b.c", .text = "int caf\xC3\xA9;\n"},
        {.language = "c", .package = "p", .path = "c.c", .text = code_text(9), .is_heldout = true},
    };
};

TEST_CASE_METHOD(ShardsFixture, "the windows of a file cover all of it", "[training][shards]") {
    CodePieces pieces(files_, formats_, kWindow);
    std::size_t covered = 0;
    for (const CodePiece& piece : pieces.cut(false)) {
        if (piece.file_index != 0) continue;
        CHECK(piece.first_token <= covered);  // a token is a byte here
        if (piece.first_token > 0) CHECK(files_[0].text[piece.first_token - 1] == '\n');
        // The path line takes a few tokens of the window.
        covered = piece.first_token + piece.tokens_max - formats_.path_line("a.c").size();
    }
    CHECK(covered + 48 >= files_[0].text.size());
}

TEST_CASE_METHOD(ShardsFixture, "most pieces of a long file are short", "[training][shards]") {
    files_[0].text = code_text(2000);
    CodePieces pieces(files_, formats_, 1024);
    std::size_t tokens = 0;
    std::size_t whole = 0;
    std::size_t count = 0;
    for (const CodePiece& piece : pieces.cut(false)) {
        CHECK(piece.tokens_max <= 1024);
        tokens += piece.tokens_max;
        whole += piece.tokens_max == 1024 ? 1024U : 0U;
        ++count;
    }
    CHECK(static_cast<double>(whole) / static_cast<double>(tokens) == Approx(0.35).margin(0.05));
    CHECK(tokens / count < 450);
    for (const CodePiece& piece : pieces.cut(true)) {
        CHECK(piece.tokens_max == 1024);
    }
}

TEST_CASE_METHOD(ShardsFixture,
                 "held-out files are never in training windows",
                 "[training][shards]") {
    CodePieces pieces(files_, formats_, kWindow);
    for (const CodePiece& piece : pieces.cut(false)) {
        CHECK(piece.file_index < 2);
    }
    const auto heldout = pieces.cut(true);
    CHECK_FALSE(heldout.empty());
    for (const CodePiece& piece : heldout) {
        CHECK(piece.file_index == 2);
    }
    Random random(1);
    for (int i = 0; i < 300; ++i) {
        CHECK(text(pieces.render(pieces.cut(false)[0], random)).find("c.c") == std::string::npos);
    }
}

TEST_CASE_METHOD(ShardsFixture,
                 "samples have a hole, a neighbour or neither, in their shares",
                 "[training][shards]") {
    CodePieces pieces(files_, formats_, kWindow);
    const CodePiece piece = pieces.cut(false)[1];
    Random random(4);
    int holes = 0;
    int suffix_first = 0;
    int unmarked = 0;
    for (int i = 0; i < 2000; ++i) {
        const Tokens tokens = pieces.render(piece, random);
        REQUIRE(tokens.size() <= kWindow);
        const std::string sample = text(tokens);
        CHECK(sample.find("<|file_sep|>a.c\n") != std::string::npos);
        const std::size_t prefix = sample.find("<|fim_prefix|>");
        const std::size_t suffix = sample.find("<|fim_suffix|>");
        if (prefix == std::string::npos) continue;
        ++holes;
        CHECK(sample.ends_with("<|endoftext|>"));
        const std::size_t middle = sample.find("<|fim_middle|>");
        unmarked += middle == std::string::npos ? 1 : 0;
        if (prefix < suffix) continue;
        ++suffix_first;
        // The mark stands at the beginning of a line, whatever is cut off.
        if (middle == std::string::npos) continue;
        CHECK((sample[middle - 1] == '\n' || sample.substr(0, middle).ends_with("<|fim_prefix|>")));
    }
    CHECK(holes > 1500);
    CHECK(holes < 1800);
    CHECK(suffix_first == Approx(holes * 0.8).margin(80));
    CHECK(unmarked == Approx(holes * 0.2).margin(80));
}

TEST_CASE_METHOD(ShardsFixture,
                 "four samples of ten show what is like them in other files, ordered by path",
                 "[training][shards]") {
    files_[0].text = code_text(200);
    for (const char* path : {"depot.h", "earth.c", "fence.c", "sub/g.c"}) {
        files_.push_back({.language = "c", .package = "p", .path = path, .text = code_text(5)});
    }
    CodePieces pieces(files_, formats_, 1024);
    Random random(8);
    std::map<std::size_t, int> shown;
    for (int i = 0; i < 2000; ++i) {
        const Tokens tokens = pieces.render({0, 0, 192}, random);
        CHECK(tokens.size() <= 192 + 384);
        const std::string sample = text(tokens);
        std::vector<std::string> paths;
        for (std::size_t at = sample.find("<|file_sep|>"); at != std::string::npos;
             at = sample.find("<|file_sep|>", at + 1)) {
            const std::size_t begin = at + std::string_view("<|file_sep|>").size();
            paths.push_back(sample.substr(begin, sample.find('\n', begin) - begin));
        }
        REQUIRE_FALSE(paths.empty());
        ++shown[paths.size()];
        CHECK(sample.starts_with(paths.size() > 1 ? "<|repo_name|>p<|file_sep|>"
                                                  : "<|file_sep|>a.c"));
        CHECK(paths.back() == "a.c");
        paths.pop_back();
        CHECK(std::ranges::is_sorted(paths));
        CHECK(std::ranges::count(paths, "sub/g.c") == 0);
        CHECK(std::ranges::count(paths, "c.c") == 0);  // held out
    }
    CHECK(shown[1] == Approx(1200).margin(80));
    CHECK(shown[2] > 100);
    CHECK(shown[3] > 100);
}

TEST_CASE_METHOD(ShardsFixture,
                 "an import is now and then left away before a hole",
                 "[training][shards]") {
    files_[0].text = "#include \"depot.h\"\n" + code_text(40);
    CodePieces pieces(files_, formats_, 1024);
    Random random(8);
    int without_import = 0;
    for (int i = 0; i < 500; ++i) {
        const std::string sample = text(pieces.render({0, 0, 1024}, random));
        without_import += sample.find("#include") == std::string::npos ? 1 : 0;
    }
    CHECK(without_import > 5);
    CHECK(without_import < 100);
}

TEST_CASE("of other files the lines most like those around the cursor are shown",
          "[training][shards]") {
    std::string far;
    for (int i = 0; i < 40; ++i) {
        far += "nothing_" + std::to_string(i) + " = filler;\n";
    }
    const std::string like = "open_door(handle);\nturn(handle, degrees);\n";
    std::vector<CorpusFile> files = {
        {.language = "c", .package = "p", .path = "a.c", .text = {}},
        {.language = "c", .package = "p", .path = "like.c", .text = far + like + far},
        {.language = "c", .package = "p", .path = "other.c", .text = "void unrelated();\n"},
        {.language = "go", .package = "p", .path = "like.go", .text = like},
        {.language = "c", .package = "q", .path = "like.c", .text = like},
        {.language = "c", .package = "p", .path = "held.c", .text = like, .is_heldout = true},
    };
    Neighbours neighbours(files);
    Random random(3);
    const CursorPlace place{"open_door(handle);\nturn(handle, degrees);\nunrelat",
                            "ed();\nclose();\n"};
    int found = 0;
    for (int i = 0; i < 50; ++i) {
        for (const Snippet& snippet : neighbours.like(0, place, random)) {
            ++found;
            CHECK(snippet.file_index == 1);  // what the cursor's own line says does not count
            CHECK(snippet.text.find(like) != std::string_view::npos);
            CHECK(std::ranges::count(snippet.text, '\n') == 24);
        }
    }
    CHECK(found > 25);
    CHECK(found <= 50);
    CHECK(neighbours.like(0, {"", ""}, random).empty());
    CHECK(neighbours.like(4, place, random).empty());  // alone in its folder
}

TEST_CASE("a file that the text names is shown before any other of its folder",
          "[training][shards]") {
    std::vector<CorpusFile> files = {{.language = "c", .package = "p", .path = "a.c", .text = {}}};
    for (int i = 0; i < 20; ++i) {
        const std::string path = "file" + std::to_string(i) + ".h";
        files.push_back({.language = "c", .package = "p", .path = path, .text = "turn(handle);\n"});
    }
    Neighbours neighbours(files);
    Random random(5);
    const CursorPlace place{"#include \"file7.h\"\nturn(handle);\n", ""};
    std::size_t most = 0;
    for (int i = 0; i < 50; ++i) {
        const std::vector<Snippet> shown = neighbours.like(0, place, random);
        CHECK(std::ranges::count(shown, 8U, &Snippet::file_index) == 1);
        most = std::max(most, shown.size());
    }
    CHECK(most == 8);
}

TEST_CASE_METHOD(ShardsFixture,
                 "a file that ends in its window ends with its mark",
                 "[training][shards]") {
    CodePieces pieces(files_, formats_, kWindow);
    CHECK(text(pieces.render_plain({1, 0, kWindow}, kWindow)) ==
          "<|file_sep|>b.c\nint caf\xC3\xA9;\n<|endoftext|>");
    CHECK(pieces.render_plain({0, 0, kWindow}, kWindow).size() == kWindow);
}

TEST_CASE("blocks hold whole samples, filled up to the window", "[training][shards]") {
    int fillers = 0;
    BlockPacker packer(100, TokenId{9}, [&](std::size_t tokens_max) {
        ++fillers;
        return Tokens(tokens_max, TokenId{8});
    });
    packer.add(Tokens(100, TokenId{1}));
    CHECK(packer.ready_tokens() == 100);
    packer.add(Tokens(60, TokenId{2}));
    packer.add(Tokens(30, TokenId{3}));
    packer.add(Tokens(50, TokenId{4}));
    CHECK(packer.ready_tokens() == 100);
    packer.flush();
    Tokens expected(100, TokenId{1});
    expected.insert(expected.end(), 60, TokenId{2});
    expected.insert(expected.end(), 30, TokenId{3});
    expected.insert(expected.end(), 10, TokenId{9});  // too short for text
    expected.insert(expected.end(), 50, TokenId{4});
    expected.insert(expected.end(), 50, TokenId{8});
    CHECK(packer.padding_count() == 10);
    CHECK(fillers == 1);
    CHECK(packer.take() == expected);
    CHECK(packer.ready_tokens() == 0);
}

TEST_CASE("no sample crosses a block, whatever their lengths", "[training][shards]") {
    Random random(6);
    BlockPacker packer(64, TokenId{0}, [&](std::size_t tokens_max) {
        return Tokens(1 + random.below(tokens_max), TokenId{0});
    });
    std::vector<std::size_t> sizes;
    for (std::size_t i = 1; i <= 2000; ++i) {
        sizes.push_back(1 + random.below(64));
        packer.add(Tokens(sizes.back(), static_cast<TokenId>(i)));
    }
    packer.flush();
    const Tokens blocks = packer.take();
    REQUIRE(blocks.size() % 64 == 0);
    std::vector<std::size_t> first(sizes.size() + 1, blocks.size());
    std::vector<std::size_t> count(sizes.size() + 1, 0);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        first[blocks[i]] = std::min(first[blocks[i]], i);
        ++count[blocks[i]];
    }
    for (std::size_t i = 1; i <= sizes.size(); ++i) {
        CHECK(count[i] == sizes[i - 1]);
        CHECK(first[i] / 64 == (first[i] + sizes[i - 1] - 1) / 64);
        CHECK(blocks[first[i] + sizes[i - 1] - 1] == i);
    }
}

}  // namespace
