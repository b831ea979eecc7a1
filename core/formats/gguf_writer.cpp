#include "core/formats/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/assert.h"
#include "core/formats/gguf_types.h"

namespace hearth::formats {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kAlignment = 32;  // the format's default, so no key says it

template <typename Number>
void put(Bytes& to, Number value) {
    static_assert(std::is_trivially_copyable_v<Number>);
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    to.insert(to.end(), from, from + sizeof(Number));
}

void put_text(Bytes& to, std::string_view text) {
    put<std::uint64_t>(to, text.size());
    const auto* const from = reinterpret_cast<const std::byte*>(text.data());
    to.insert(to.end(), from, from + text.size());
}

template <typename Number>
Bytes scalar(GgufType type, Number value) {
    Bytes encoded;
    put(encoded, type);
    put(encoded, value);
    return encoded;
}

Bytes array_start(GgufType element, std::size_t count) {
    Bytes encoded;
    put(encoded, GgufType::array);
    put(encoded, element);
    put<std::uint64_t>(encoded, count);
    return encoded;
}

template <typename Number>
Bytes numbers(GgufType element, const std::vector<Number>& values) {
    Bytes encoded = array_start(element, values.size());
    for (const Number value : values) {
        put(encoded, value);
    }
    return encoded;
}

std::size_t padded(std::size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// A file that disappears unless it is renamed.
class PartialFile {
  public:
    explicit PartialFile(const std::string& path)
        : path_(path + ".partial-" + std::to_string(::getpid())),
          file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
    ~PartialFile() {
        if (file_ >= 0) ::close(file_);
        if (!is_renamed_) ::unlink(path_.c_str());
    }
    PartialFile(const PartialFile&) = delete;
    PartialFile& operator=(const PartialFile&) = delete;

    [[nodiscard]] bool is_open() const { return file_ >= 0; }

    [[nodiscard]] bool write(std::span<const std::byte> bytes) const {
        while (!bytes.empty()) {
            const ssize_t written = ::write(file_, bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) return false;
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
        return true;
    }

    [[nodiscard]] bool rename_to(const std::string& path) {
        if (::fsync(file_) != 0) return false;
        is_renamed_ = std::rename(path_.c_str(), path.c_str()) == 0;
        return is_renamed_;
    }

  private:
    const std::string path_;
    const int file_;
    bool is_renamed_ = false;
};

}  // namespace

void GgufWriter::add(std::string key, std::vector<std::byte> encoded) {
    HEARTH_ASSERT(!key.empty() && key.size() <= GgufLimits::kKeyBytesMax);
    const bool is_new = std::none_of(
        metadata_.begin(), metadata_.end(), [&](const Pair& pair) { return pair.key == key; });
    HEARTH_ASSERT(is_new);
    metadata_.push_back({std::move(key), std::move(encoded)});
}

void GgufWriter::add_bool(std::string key, bool value) {
    add(std::move(key), scalar<std::uint8_t>(GgufType::boolean, value ? 1 : 0));
}

void GgufWriter::add_u32(std::string key, std::uint32_t value) {
    add(std::move(key), scalar(GgufType::u32, value));
}

void GgufWriter::add_u64(std::string key, std::uint64_t value) {
    add(std::move(key), scalar(GgufType::u64, value));
}

void GgufWriter::add_i32(std::string key, std::int32_t value) {
    add(std::move(key), scalar(GgufType::i32, value));
}

void GgufWriter::add_f32(std::string key, float value) {
    add(std::move(key), scalar(GgufType::f32, value));
}

void GgufWriter::add_string(std::string key, std::string_view value) {
    Bytes encoded;
    put(encoded, GgufType::string);
    put_text(encoded, value);
    add(std::move(key), std::move(encoded));
}

void GgufWriter::add_strings(std::string key, const std::vector<std::string>& values) {
    Bytes encoded = array_start(GgufType::string, values.size());
    for (const std::string& value : values) {
        put_text(encoded, value);
    }
    add(std::move(key), std::move(encoded));
}

void GgufWriter::add_i32s(std::string key, const std::vector<std::int32_t>& values) {
    add(std::move(key), numbers(GgufType::i32, values));
}

void GgufWriter::add_f32s(std::string key, const std::vector<float>& values) {
    add(std::move(key), numbers(GgufType::f32, values));
}

void GgufWriter::add_tensor(std::string name,
                            compute::Dtype dtype,
                            const compute::Shape& shape,
                            std::span<const std::byte> bytes) {
    HEARTH_ASSERT(!name.empty() && name.size() <= GgufLimits::kTensorNameBytesMax);
    HEARTH_ASSERT(shape.count >= 1 && shape.elements() >= 1);
    const bool has_whole_blocks = shape.dim(-1) % compute::traits(dtype).elements == 0;
    HEARTH_ASSERT(has_whole_blocks);
    const auto needed = static_cast<std::size_t>(compute::row_bytes(dtype, shape.elements()));
    HEARTH_ASSERT(bytes.size() == needed);
    const bool is_new =
        std::none_of(tensors_.begin(), tensors_.end(), [&](const compute::Tensor& tensor) {
            return tensor.name == name;
        });
    HEARTH_ASSERT(is_new);
    tensors_.push_back({std::move(name), dtype, shape, bytes});
}

std::vector<std::byte> GgufWriter::head() const {
    Bytes bytes;
    put(bytes, kGgufMagic);
    put(bytes, kGgufVersion);
    put<std::uint64_t>(bytes, tensors_.size());
    put<std::uint64_t>(bytes, metadata_.size());
    for (const Pair& pair : metadata_) {
        put_text(bytes, pair.key);
        bytes.insert(bytes.end(), pair.encoded.begin(), pair.encoded.end());
    }
    std::uint64_t offset = 0;
    for (const compute::Tensor& tensor : tensors_) {
        put_text(bytes, tensor.name);
        put(bytes, static_cast<std::uint32_t>(tensor.shape.count));
        for (int axis = tensor.shape.count - 1; axis >= 0; --axis) {
            put(bytes, static_cast<std::uint64_t>(tensor.shape.dim(axis)));
        }
        put(bytes, static_cast<std::uint32_t>(tensor.dtype));
        put(bytes, offset);
        offset += padded(tensor.bytes.size());
    }
    bytes.resize(padded(bytes.size()));
    return bytes;
}

std::vector<std::byte> GgufWriter::to_bytes() const {
    Bytes bytes = head();
    for (const compute::Tensor& tensor : tensors_) {
        bytes.insert(bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
        bytes.resize(padded(bytes.size()));
    }
    return bytes;
}

Result<void> GgufWriter::write(const std::string& path) const {
    PartialFile file(path);
    const Bytes padding(kAlignment);
    bool is_written = file.is_open() && file.write(head());
    for (const compute::Tensor& tensor : tensors_) {
        const std::size_t missing = padded(tensor.bytes.size()) - tensor.bytes.size();
        is_written =
            is_written && file.write(tensor.bytes) && file.write(std::span(padding).first(missing));
    }
    if (!is_written || !file.rename_to(path)) {
        return fail(ErrorCode::io,
                    "cannot write " + path + ": " + std::generic_category().message(errno),
                    "gguf");
    }
    return {};
}

}  // namespace hearth::formats
