// The token sequences that the model learns, as training/README.md defines them. What stands
// between two special tokens is encoded by itself.
#pragma once

#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "training/tokenizer/encoder.h"

namespace hearth::training {

using Tokens = std::vector<TokenId>;

struct InfillParts {
    std::string_view prefix;
    std::string_view middle;
    std::string_view suffix;
};

enum class InfillOrder {
    prefix_first,           ///< PSM, the mark of the middle behind the suffix
    suffix_first,           ///< SPM: a key typed in an editor appends to the prompt
    suffix_first_unmarked,  ///< the same without the mark
};

struct FixParts {
    std::string_view path;
    std::string_view before;     ///< whole lines
    std::string_view bad_line;   ///< without its line end
    std::string_view after;      ///< whole lines
    std::string_view good_line;  ///< without its line end
};

class SampleFormats {
  public:
    /// `encoder` outlives the formats. Errors: not_found (a special token is missing, named).
    static Result<SampleFormats> make(Encoder& encoder);

    /// <|file_sep|>path\n
    [[nodiscard]] Tokens path_line(std::string_view path);
    /// <|repo_name|>name
    [[nodiscard]] Tokens repository_name(std::string_view name);
    /// <|file_sep|>path\nsnippet
    [[nodiscard]] Tokens neighbour(std::string_view path, std::string_view snippet);

    /// head, the parts in `order`, <|endoftext|>. Suffix first, the mark stands before the line in
    /// which the middle begins, and line and middle are encoded as one text. More than `tokens_max`
    /// tokens: the end of the suffix is left out, then the start of the prefix. Empty if that does
    /// not suffice.
    [[nodiscard]] Tokens infill(const Tokens& head,
                                const InfillParts& parts,
                                InfillOrder order,
                                std::size_t tokens_max);
    /// head and text from left to right, cut at `tokens_max`; <|endoftext|> only where the file
    /// ends.
    [[nodiscard]] Tokens continuation(const Tokens& head,
                                      std::string_view text,
                                      bool is_file_end,
                                      std::size_t tokens_max);
    /// <|explain|>path\ncode<|fim_middle|>sentence<|endoftext|>; the end of the code is left out
    /// where it is too long.
    [[nodiscard]] Tokens explain(std::string_view path,
                                 std::string_view code,
                                 std::string_view sentence,
                                 std::size_t tokens_max);
    /// <|fix|>path\nbefore<|bug|>bad_line\nafter<|fim_middle|>good_line<|endoftext|>; empty if it
    /// is longer than `tokens_max`.
    [[nodiscard]] Tokens fix(const FixParts& parts, std::size_t tokens_max);

    [[nodiscard]] TokenId padding() const { return fim_pad_; }
    [[nodiscard]] Encoder& encoder() { return *encoder_; }

  private:
    explicit SampleFormats(Encoder& encoder) : encoder_(&encoder) {}

    Encoder* encoder_;
    TokenId end_of_text_ = 0, fim_prefix_ = 0, fim_middle_ = 0, fim_suffix_ = 0, fim_pad_ = 0;
    TokenId repo_name_ = 0, file_sep_ = 0, explain_ = 0, fix_ = 0, bug_ = 0;
};

}  // namespace hearth::training
