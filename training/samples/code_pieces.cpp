#include "training/samples/code_pieces.h"

#include <algorithm>
#include <array>
#include <utility>

#include "training/samples/middles.h"
#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr double kHoleShare = 0.85;
constexpr double kPrefixFirstShare = 0.20;
constexpr double kUnmarkedShare = 0.20;  // of all holes
// Of a training file's pieces, one after the other; 0 is a whole window.
constexpr std::array<std::uint32_t, 7> kPieceTokens = {0, 192, 256, 320, 256, 384, 512};
constexpr double kContextShare = 0.40;  // with what is like it in other files
// Tokens of that: in long windows what an editor takes, less in short ones.
constexpr std::size_t kContextTokensMin = 128;
constexpr std::size_t kContextTokensMax = 512;
constexpr std::size_t kSnippetTokensMin = 16;  // a snippet cut to less says nothing
constexpr double kDroppedImportsShare = 0.05;
constexpr double kEmptySuffixShare = 0.10;
constexpr double kCutPrefixShare = 0.10;
constexpr std::size_t kOverlapTokens = 40;  // a piece less this is where the next one starts
constexpr std::size_t kSearchTokens = 120;  // how far back a line start is looked for
constexpr std::size_t kTailTokensMin = 48;  // a shorter rest of a file is no sample of its own
constexpr std::size_t kSpareTokens = 32;    // cutting a text in three changes its token count

bool is_import(std::string_view line) {
    for (const std::string_view start : {"import ", "from ", "#include", "use ", "using "}) {
        if (line.starts_with(start)) return true;
    }
    return line.find("require(") != std::string_view::npos && !line.starts_with(" ");
}

InfillOrder pick_order(Random& random) {
    if (random.chance(kPrefixFirstShare)) return InfillOrder::prefix_first;
    return random.chance(kUnmarkedShare / (1 - kPrefixFirstShare))
               ? InfillOrder::suffix_first_unmarked
               : InfillOrder::suffix_first;
}

}  // namespace

CodePieces::CodePieces(const std::vector<CorpusFile>& files,
                       SampleFormats& formats,
                       std::size_t window)
    : files_(&files),
      formats_(&formats),
      window_(window),
      neighbours_(files) {
    for (const CorpusFile& file : files) {
        Tokens tokens = formats.encoder().encode(file.text);
        std::vector<std::uint32_t> offsets;
        std::uint32_t offset = 0;
        for (const TokenId token : tokens) {
            offsets.push_back(offset);
            offset +=
                static_cast<std::uint32_t>(formats.encoder().file().token_bytes(token).size());
        }
        offsets.push_back(offset);
        tokens_.push_back(std::move(tokens));
        offsets_.push_back(std::move(offsets));
    }
}

std::size_t CodePieces::next_start(const CodePiece& piece) const {
    const std::string& text = (*files_)[piece.file_index].text;
    const std::vector<std::uint32_t>& offsets = offsets_[piece.file_index];
    const std::size_t aim = piece.first_token + piece.tokens_max - kOverlapTokens;
    const std::size_t search = std::min<std::size_t>(kSearchTokens, piece.tokens_max / 4);
    for (std::size_t i = aim; i + search > aim && i > piece.first_token; --i) {
        if (i < offsets.size() && text[offsets[i] - 1] == '\n') return i;
    }
    return aim;
}

std::vector<CodePiece> CodePieces::cut(bool is_heldout) const {
    std::vector<CodePiece> pieces;
    for (std::uint32_t i = 0; i < files_->size(); ++i) {
        if ((*files_)[i].is_heldout != is_heldout) continue;
        std::size_t start = 0;
        // Where in the row of lengths a file begins depends on the file: small files have one.
        for (std::size_t number = i; start == 0 || start + kTailTokensMin < tokens_[i].size();
             ++number) {
            const std::uint32_t length =
                is_heldout ? 0 : kPieceTokens[number % kPieceTokens.size()];
            const auto window = static_cast<std::uint32_t>(window_);
            const std::uint32_t tokens_max = length == 0 ? window : std::min(length, window);
            pieces.push_back({i, static_cast<std::uint32_t>(start), tokens_max});
            start = next_start(pieces.back());
        }
    }
    return pieces;
}

std::size_t CodePieces::text_tokens(const CodePiece& piece) const {
    return std::min<std::size_t>(tokens_[piece.file_index].size() - piece.first_token,
                                 piece.tokens_max);
}

CodePieces::Window CodePieces::text_of(const CodePiece& piece, std::size_t tokens_max) const {
    const std::string& text = (*files_)[piece.file_index].text;
    const std::vector<std::uint32_t>& offsets = offsets_[piece.file_index];
    const std::size_t last =
        std::min<std::size_t>(piece.first_token + tokens_max, offsets.size() - 1);
    const std::size_t begin = to_character_start(text, offsets[piece.first_token]);
    const std::size_t end = to_character_start(text, offsets[last]);
    return {std::string_view(text).substr(begin, end - begin), end == text.size()};
}

Tokens CodePieces::head_of(const CodePiece& piece,
                           const CursorPlace& place,
                           std::size_t context_tokens_max,
                           Random& random) {
    const CorpusFile& file = (*files_)[piece.file_index];
    Tokens path_line = formats_->path_line(file.path);
    if (context_tokens_max == 0) return path_line;
    Tokens head = formats_->repository_name(file.package);
    if (head.size() >= context_tokens_max) return path_line;
    std::size_t room = context_tokens_max - head.size();
    std::vector<std::pair<std::string_view, Tokens>> shown;  // path, tokens
    for (const Snippet& snippet : neighbours_.like(piece.file_index, place, random)) {
        const std::string_view path = (*files_)[snippet.file_index].path;
        const std::size_t path_tokens = formats_->path_line(path).size();
        if (room < path_tokens + kSnippetTokensMin) break;
        Tokens tokens = formats_->neighbour(path, snippet.text);
        tokens.resize(std::min(tokens.size(), room));
        room -= tokens.size();
        shown.emplace_back(path, std::move(tokens));
    }
    if (shown.empty()) return path_line;
    // The best are in, and stand by their path, as in an editor's prompt.
    std::ranges::stable_sort(shown, {}, &std::pair<std::string_view, Tokens>::first);
    for (const auto& [path, tokens] : shown) {
        head.insert(head.end(), tokens.begin(), tokens.end());
    }
    head.insert(head.end(), path_line.begin(), path_line.end());
    return head;
}

Tokens CodePieces::render_hole(const CodePiece& piece,
                               const Window& window,
                               std::size_t context_tokens_max,
                               std::size_t tokens_max,
                               Random& random) {
    const std::optional<Span> middle = pick_middle(window.text, pick_middle_kind(random), random);
    if (!middle) return {};
    InfillParts parts{.prefix = window.text.substr(0, middle->begin),
                      .middle = part(window.text, *middle),
                      .suffix = window.text.substr(middle->end)};
    if (random.chance(kEmptySuffixShare)) parts.suffix = {};
    if (random.chance(kCutPrefixShare) && !parts.prefix.empty()) {
        const std::size_t cut = random.below(parts.prefix.size());
        parts.prefix.remove_prefix(to_character_start(parts.prefix, cut));
    }
    std::string kept;  // the prefix without some of its imports: an editor's file may lack them
    if (random.chance(kDroppedImportsShare)) {
        for (const Span line : lines_of(parts.prefix)) {
            const std::size_t end = std::min(line.end + 1, parts.prefix.size());
            const std::string_view whole = part(parts.prefix, {line.begin, end});
            if (!is_import(whole) || random.chance(0.5)) kept += whole;
        }
        parts.prefix = kept;
    }
    const Tokens head = head_of(piece, {parts.prefix, parts.suffix}, context_tokens_max, random);
    return formats_->infill(head, parts, pick_order(random), tokens_max);
}

std::size_t CodePieces::pick_context_tokens(Random& random) const {
    if (!random.chance(kContextShare)) return 0;
    const std::size_t least = std::min(kContextTokensMin, window_ / 8);
    const std::size_t most = std::min(kContextTokensMax, window_ * 3 / 8);
    return least + random.below(most - least + 1);
}

Tokens CodePieces::render(const CodePiece& piece, Random& random) {
    const std::size_t context_tokens = pick_context_tokens(random);
    const std::size_t tokens_max = std::min(window_, piece.tokens_max + context_tokens);
    const std::size_t room = tokens_max - context_tokens;
    if (random.chance(kHoleShare)) {
        const Window window = text_of(piece, room + kSpareTokens);
        Tokens tokens = render_hole(piece, window, context_tokens, tokens_max, random);
        if (!tokens.empty()) return tokens;
    }
    const CursorPlace end{text_of(piece, room).text, {}};
    const Tokens head = head_of(piece, end, context_tokens, random);
    const Window window = text_of(piece, tokens_max - std::min(tokens_max, head.size()));
    return formats_->continuation(head, window.text, window.is_file_end, tokens_max);
}

Tokens CodePieces::render_plain(const CodePiece& piece, std::size_t tokens_max) {
    const Window window = text_of(piece, tokens_max);
    const Tokens head = formats_->path_line((*files_)[piece.file_index].path);
    return formats_->continuation(head, window.text, window.is_file_end, tokens_max);
}

}  // namespace hearth::training
