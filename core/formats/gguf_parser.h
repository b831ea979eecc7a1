// From the bytes of a GGUF file to a GgufFile. Private to core/formats.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/base/result.h"
#include "core/formats/gguf.h"

namespace hearth::formats {

/// `map` keeps `bytes` alive as long as the file; null where the caller does.
///
/// Errors: as GgufFile::load.
Result<std::shared_ptr<const GgufFile>> parse_gguf(std::span<const std::byte> bytes,
                                                   std::string name,
                                                   std::shared_ptr<const void> map);

}  // namespace hearth::formats
