#include "training/samples/code_pieces.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "training/samples/middles.h"
#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr double kHoleShare = 0.85;
constexpr double kPrefixFirstShare = 0.20;
constexpr double kUnmarkedShare = 0.20;  // of all holes
// Of a training file's pieces, one after the other; 0 is a whole window.
constexpr std::array<std::uint32_t, 7> kPieceTokens = {0, 192, 256, 320, 256, 384, 512};
constexpr double kNeighbourShare = 0.20;
constexpr double kNeighboursShare = 0.30;  // in long windows
constexpr std::size_t kLongWindow = 1024;  // which have room for several
constexpr std::size_t kNeighboursMax = 3;
constexpr std::size_t kNeighbourCandidates = 8;
constexpr double kDroppedImportsShare = 0.05;
constexpr double kEmptySuffixShare = 0.10;
constexpr double kCutPrefixShare = 0.10;
constexpr std::size_t kOverlapTokens = 40;  // a piece less this is where the next one starts
constexpr std::size_t kHeadTokens = 24;     // about what a path line and the special tokens take
constexpr std::size_t kSearchTokens = 120;  // how far back a line start is looked for
constexpr std::size_t kTailTokensMin = 48;  // a shorter rest of a file is no sample of its own
constexpr std::size_t kSpareTokens = 32;    // cutting a text in three changes its token count
constexpr std::size_t kSnippetBytesMax = 500;
constexpr std::size_t kLongSnippetBytesMax = 1500;

std::string folder_key(const CorpusFile& file) {
    const std::size_t slash = file.path.rfind('/');
    return file.package + "\t" + file.language + "\t" +
           (slash == std::string::npos ? "" : file.path.substr(0, slash));
}

/// "parser" of "src/parser.h": what a file that uses it is likely to name.
std::string_view stem_of(std::string_view path) {
    path.remove_prefix(path.rfind('/') + 1);
    return path.substr(0, path.find('.'));
}

bool is_import(std::string_view line) {
    for (const std::string_view start : {"import ", "from ", "#include", "use ", "using "}) {
        if (line.starts_with(start)) return true;
    }
    return line.find("require(") != std::string_view::npos && !line.starts_with(" ");
}

/// How many different names of `words` are in `text`.
std::size_t shared_names(const std::unordered_set<std::string_view>& words, std::string_view text) {
    std::unordered_set<std::string_view> shared;
    for (const Span span : identifiers_of(text)) {
        const std::string_view word = part(text, span);
        if (words.contains(word)) shared.insert(word);
    }
    return shared.size();
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
      window_(window) {
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
        if (!file.is_heldout) {
            files_of_folder_[folder_key(file)].push_back(
                static_cast<std::uint32_t>(tokens_.size()));
        }
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

std::string_view CodePieces::pick_snippet(const CodePiece& piece,
                                          const CorpusFile& neighbour,
                                          std::string_view text,
                                          Random& random) const {
    std::unordered_set<std::string_view> names;
    for (const Span span : identifiers_of(text)) {
        if (span.size() > 2 && !is_keyword(part(text, span))) names.insert(part(text, span));
    }
    const std::size_t bytes_max =
        piece.tokens_max < kLongWindow ? kSnippetBytesMax : kLongSnippetBytesMax;
    // Of a few places in the neighbour, the one that speaks most of the same things.
    const std::vector<Span> lines = lines_of(neighbour.text);
    std::string_view best;
    std::size_t best_score = 0;
    for (int i = 0; i < 4; ++i) {
        const std::size_t first = random.below(lines.size());
        std::size_t last = first;
        while (last + 1 < lines.size() && lines[last + 1].end - lines[first].begin < bytes_max) {
            ++last;
        }
        const std::size_t end = std::min(lines[last].end + 1, neighbour.text.size());
        const Span span{lines[first].begin, end};
        const std::string_view snippet = part(neighbour.text, span);
        const std::size_t score = 1 + shared_names(names, snippet);
        if (score > best_score) {
            best = snippet;
            best_score = score;
        }
    }
    return best;
}

/// Other files of the folder; those that the text names come last, next to it.
std::vector<std::uint32_t> CodePieces::pick_neighbours(const CodePiece& piece,
                                                       std::string_view text,
                                                       Random& random) const {
    const auto found = files_of_folder_.find(folder_key((*files_)[piece.file_index]));
    if (found == files_of_folder_.end()) return {};
    std::vector<std::uint32_t> others;
    for (std::size_t i = 0; i < kNeighbourCandidates; ++i) {
        const std::uint32_t other = random.pick(found->second);
        if (other != piece.file_index && std::ranges::count(others, other) == 0)
            others.push_back(other);
    }
    std::stable_partition(others.begin(), others.end(), [&](std::uint32_t other) {
        return text.find(stem_of((*files_)[other].path)) == std::string_view::npos;
    });
    const std::size_t count = piece.tokens_max < kLongWindow ? 1 : 1 + random.below(kNeighboursMax);
    if (others.size() > count)
        others.erase(others.begin(), others.end() - static_cast<std::ptrdiff_t>(count));
    return others;
}

Tokens CodePieces::head_of(const CodePiece& piece, std::string_view text, Random& random) {
    const CorpusFile& file = (*files_)[piece.file_index];
    Tokens path_line = formats_->path_line(file.path);
    if (!random.chance(piece.tokens_max < kLongWindow ? kNeighbourShare : kNeighboursShare))
        return path_line;
    const std::vector<std::uint32_t> others = pick_neighbours(piece, text, random);
    if (others.empty()) return path_line;
    Tokens head = formats_->repository_name(file.package);
    for (const std::uint32_t other : others) {
        const CorpusFile& neighbour = (*files_)[other];
        const Tokens tokens =
            formats_->neighbour(neighbour.path, pick_snippet(piece, neighbour, text, random));
        head.insert(head.end(), tokens.begin(), tokens.end());
    }
    head.resize(std::min<std::size_t>(head.size(), piece.tokens_max / 2));
    head.insert(head.end(), path_line.begin(), path_line.end());
    return head;
}

Tokens CodePieces::render_hole(const Tokens& head,
                               const Window& window,
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
    return formats_->infill(head, parts, pick_order(random), tokens_max);
}

Tokens CodePieces::render(const CodePiece& piece, Random& random) {
    const std::size_t tokens_max = piece.tokens_max;
    const Tokens head = head_of(piece, text_of(piece, tokens_max).text, random);
    const std::size_t room = tokens_max > head.size() ? tokens_max - head.size() : 0;
    if (random.chance(kHoleShare) && room > kHeadTokens) {
        Tokens tokens = render_hole(head, text_of(piece, room + kSpareTokens), tokens_max, random);
        if (!tokens.empty()) return tokens;
    }
    const Window window = text_of(piece, room);
    return formats_->continuation(head, window.text, window.is_file_end, tokens_max);
}

Tokens CodePieces::render_plain(const CodePiece& piece, std::size_t tokens_max) {
    const Window window = text_of(piece, tokens_max);
    const Tokens head = formats_->path_line((*files_)[piece.file_index].path);
    return formats_->continuation(head, window.text, window.is_file_end, tokens_max);
}

}  // namespace hearth::training
