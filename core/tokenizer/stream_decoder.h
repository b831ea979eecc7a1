// StreamDecoder: tokens in, whole characters out. Holds back the bytes of a character until it is
// complete.
#pragma once

#include <string>

#include "core/tokenizer/tokenizer.h"

namespace hearth::tokenizer {

/// One per answer.   Thread: one at a time.
class StreamDecoder {
  public:
    /// `tokenizer` outlives the decoder.
    explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

    /// The text that became complete with this token: valid UTF-8, possibly empty. Special tokens
    /// give nothing. Bytes that can never become a character come out as U+FFFD, one for each
    /// maximal broken part.
    std::string feed(TokenId token);

    /// What is left at the end: U+FFFD for an unfinished character, else nothing.
    std::string finish();

  private:
    const Tokenizer& tokenizer_;
    std::string pending_;  ///< at most three bytes: the start of a character
};

}  // namespace hearth::tokenizer
