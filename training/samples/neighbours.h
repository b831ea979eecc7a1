// The files beside a training file, and what an editor that has some of them open would show a
// model of them: the lines most like those around the cursor (plugins/open_files does it there).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "training/corpus/corpus_pack.h"
#include "training/samples/random.h"

namespace hearth::training {

/// What stands in a file before and behind a cursor.
struct CursorPlace {
    std::string_view before;
    std::string_view after;
};

struct Snippet {
    std::uint32_t file_index = 0;
    std::string_view text;  ///< whole lines
};

class Neighbours {
  public:
    /// Of the training files alone. `files` outlives this.
    explicit Neighbours(const std::vector<CorpusFile>& files);

    /// Of a few files of the same folder and language, those that the text names before others: of
    /// each the window of lines that shares most names with what is around the cursor, its line
    /// left out. Best first; files that share nothing are not there.
    [[nodiscard]] std::vector<Snippet> like(std::uint32_t file_index,
                                            const CursorPlace& place,
                                            Random& random);

  private:
    using Names = std::vector<std::uint32_t>;  ///< hashes, sorted, each once

    struct Row {
        std::size_t begin = 0;  ///< byte
        Names names;
    };

    static Names names_of(std::string_view text);
    static double similarity(const Names& a, const Names& b);
    const std::vector<Row>& rows_of(std::uint32_t file_index);
    [[nodiscard]] std::vector<std::uint32_t> pick_files(std::uint32_t file_index,
                                                        const Names& names,
                                                        Random& random) const;

    const std::vector<CorpusFile>* files_;
    std::unordered_map<std::string, std::vector<std::uint32_t>> files_of_folder_;
    std::vector<std::vector<Row>> rows_;  ///< by file; empty: not looked at yet
};

}  // namespace hearth::training
