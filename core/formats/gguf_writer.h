// Writes a GGUF file (version 3), used by the trainer and by tests that need a small model.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/compute/tensor.h"
#include "core/formats/gguf.h"

namespace hearth::formats {

/// Collects metadata and tensors, then writes them in one go. Keys and names must not repeat.
class GgufWriter {
  public:
    void add_bool(std::string key, bool value);
    void add_u32(std::string key, std::uint32_t value);
    void add_u64(std::string key, std::uint64_t value);
    void add_i32(std::string key, std::int32_t value);
    void add_f32(std::string key, float value);
    void add_string(std::string key, std::string_view value);
    void add_strings(std::string key, const std::vector<std::string>& values);
    void add_i32s(std::string key, const std::vector<std::int32_t>& values);
    void add_f32s(std::string key, const std::vector<float>& values);

    /// `bytes` hold shape.elements() elements of `dtype` in rows; they are borrowed until write().
    void add_tensor(std::string name,
                    compute::Dtype dtype,
                    const compute::Shape& shape,
                    std::span<const std::byte> bytes);

    /// The whole file as bytes, for tests.
    [[nodiscard]] std::vector<std::byte> to_bytes() const;
    /// Writes beside `path` and renames, so that no half file is ever seen.   Errors: io.
    [[nodiscard]] Result<void> write(const std::string& path) const;

  private:
    /// Everything before the tensor data, padded.
    [[nodiscard]] std::vector<std::byte> head() const;
    void add(std::string key, std::vector<std::byte> encoded);

    struct Pair {
        std::string key;
        std::vector<std::byte> encoded;  ///< type number and value as the file has them
    };
    std::vector<Pair> metadata_;
    std::vector<compute::Tensor> tensors_;
};

}  // namespace hearth::formats
