// Reads a GGUF file: metadata and named tensors over a read-only memory map. Knows no model.
//
// The file, in order: magic "GGUF", version 3 (2 is accepted), tensor count, metadata count; the
// metadata as (key, type, value); the tensor infos as (name, axis count, axes, type, offset);
// padding to `general.alignment`; the tensor data. All little-endian. Every length and offset is
// checked in 64 bit before use: a file is untrusted input. What it does not defend against: a file
// that is cut while it is mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "core/compute/tensor.h"

namespace hearth::formats {

/// What a file may ask for, well above any that is in use.
struct GgufLimits {
    static constexpr std::uint64_t kKeyBytesMax = 65535;
    static constexpr std::uint64_t kTensorNameBytesMax = 255;
    static constexpr std::uint64_t kStringBytesMax = std::uint64_t{64} << 20;
    static constexpr std::uint64_t kArrayElementsMax = std::uint64_t{1} << 24;
    static constexpr std::uint64_t kMetadataCountMax = std::uint64_t{1} << 16;
    static constexpr std::uint64_t kTensorCountMax = std::uint64_t{1} << 20;
    static constexpr std::uint64_t kTensorElementsMax = std::uint64_t{1} << 48;
    static constexpr std::uint64_t kAlignmentMin = 8;
    static constexpr std::uint64_t kAlignmentMax = std::uint64_t{1} << 20;
};

struct GgufArray;

/// A metadata value. Integers of every width are kept as 64 bit; the sign follows the file's type.
using GgufValue = std::variant<bool,
                               std::int64_t,
                               std::uint64_t,
                               double,
                               std::string,
                               std::shared_ptr<const GgufArray>>;

/// An array of one element type; exactly one of the vectors is filled.
struct GgufArray {
    std::vector<std::int64_t>
        integers;  ///< bool and all integer widths; u64 above 2^63 is refused at load
    std::vector<double> reals;
    std::vector<std::string> strings;
};

/// A file that is mapped and checked.
///
/// Owner and life: the tensors' bytes are borrowed from the map (or the memory of from_parts),
/// which lives as long as this object. Thread: any, after load.
class GgufFile {
  public:
    /// Errors: io (cannot open or map), corrupt (any length, offset, type or name that breaks the
    /// format, with the place in bytes), unsupported (big-endian, unknown version or tensor type,
    /// naming the tensor).
    static Result<std::shared_ptr<const GgufFile>> load(const std::string& path);
    /// The same over bytes in memory, which outlive the result; they are aligned for the tensors
    /// that will be read (a vector's memory is).
    static Result<std::shared_ptr<const GgufFile>> parse(std::span<const std::byte> bytes,
                                                         std::string name);

    struct Entry {
        std::string key;
        GgufValue value;
    };
    /// A model that never was a file: its parts, with keys and names that do not repeat. `memory`
    /// keeps the tensors' bytes.
    static std::shared_ptr<const GgufFile> from_parts(std::string name,
                                                      std::vector<Entry> metadata,
                                                      std::vector<compute::Tensor> tensors,
                                                      std::shared_ptr<const void> memory);

    ~GgufFile() = default;
    GgufFile(const GgufFile&) = delete;
    GgufFile& operator=(const GgufFile&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
    [[nodiscard]] std::span<const compute::Tensor> tensors() const { return tensors_; }
    /// Null when the file has no tensor of that name.
    [[nodiscard]] const compute::Tensor* find_tensor(std::string_view name) const;

    [[nodiscard]] std::span<const Entry> metadata() const { return metadata_; }
    [[nodiscard]] const GgufValue* find(std::string_view key) const;

    /// Typed access: empty when the key is absent or of another kind. Integers convert between
    /// widths when they fit.
    [[nodiscard]] std::optional<std::int64_t> find_integer(std::string_view key) const;
    [[nodiscard]] std::optional<double> find_real(std::string_view key) const;
    [[nodiscard]] std::optional<bool> find_bool(std::string_view key) const;
    [[nodiscard]] const std::string* find_string(std::string_view key) const;
    [[nodiscard]] const GgufArray* find_array(std::string_view key) const;

    /// As above, but absence is an error that names key and file.   Errors: corrupt.
    [[nodiscard]] Result<std::int64_t> integer(std::string_view key) const;
    [[nodiscard]] Result<std::string> string(std::string_view key) const;

  private:
    friend class GgufParser;
    GgufFile() = default;

    std::string path_;
    std::uint64_t size_bytes_ = 0;
    std::vector<Entry> metadata_;           ///< in file order
    std::vector<compute::Tensor> tensors_;  ///< in file order
    std::vector<std::uint32_t> metadata_by_key_;
    std::vector<std::uint32_t> tensors_by_name_;
    std::shared_ptr<const void> map_;  ///< keeps the tensors' bytes; null after parse()
};

}  // namespace hearth::formats
