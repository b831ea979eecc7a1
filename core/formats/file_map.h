// A whole file as read-only memory. Private to core/formats.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/base/result.h"

namespace hearth::formats {

/// Owner and life: the bytes are mapped as long as this object lives; the pages are shared with
/// every process that maps the same file.
class FileMap {
  public:
    /// Errors: not_found, io (cannot open, not a regular file, empty, cannot map).
    static Result<std::shared_ptr<const FileMap>> load(const std::string& path);

    ~FileMap();
    FileMap(const FileMap&) = delete;
    FileMap& operator=(const FileMap&) = delete;

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  private:
    explicit FileMap(std::span<const std::byte> bytes) : bytes_(bytes) {}

    const std::span<const std::byte> bytes_;
};

}  // namespace hearth::formats
