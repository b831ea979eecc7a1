// Bytes as a file that has a path but touches no disk, for readers that take a path.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "core/base/assert.h"

namespace hearth::fuzz {

class MemoryFile {
  public:
    explicit MemoryFile(std::string_view bytes) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
        HEARTH_ASSERT(file_ >= 0);
        const ssize_t written = ::write(file_, bytes.data(), bytes.size());
        HEARTH_ASSERT(written == static_cast<ssize_t>(bytes.size()));
    }
    ~MemoryFile() { ::close(file_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;

    [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

  private:
    const int file_;
};

}  // namespace hearth::fuzz
