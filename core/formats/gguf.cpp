#include "core/formats/gguf.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/base/assert.h"
#include "core/formats/file_map.h"
#include "core/formats/gguf_names.h"
#include "core/formats/gguf_parser.h"

namespace hearth::formats {
namespace {

template <typename Item, typename Name>
const Item* find_by_name(const std::vector<Item>& items,
                         const std::vector<std::uint32_t>& indices,
                         std::string_view wanted,
                         Name name) {
    const auto found =
        std::lower_bound(indices.begin(), indices.end(), wanted, [&](std::uint32_t i, auto text) {
            return name(items[i]) < text;
        });
    if (found == indices.end() || name(items[*found]) != wanted) return nullptr;
    return &items[*found];
}

template <typename Item, typename Name>
std::vector<std::uint32_t> sorted_by_name(const std::vector<Item>& items, Name name) {
    std::vector<std::uint32_t> order(items.size());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) {
        return name(items[a]) < name(items[b]);
    });
    const auto twice = std::adjacent_find(order.begin(), order.end(), [&](auto a, auto b) {
        return name(items[a]) == name(items[b]);
    });
    HEARTH_ASSERT(twice == order.end());
    return order;
}

}  // namespace

Result<std::shared_ptr<const GgufFile>> GgufFile::load(const std::string& path) {
    HEARTH_TRY(const auto map, FileMap::load(path));
    return parse_gguf(map->bytes(), path, map);
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::span<const std::byte> bytes,
                                                        std::string name) {
    return parse_gguf(bytes, std::move(name), nullptr);
}

std::shared_ptr<const GgufFile> GgufFile::from_parts(std::string name,
                                                     std::vector<Entry> metadata,
                                                     std::vector<compute::Tensor> tensors,
                                                     std::shared_ptr<const void> memory) {
    const std::shared_ptr<GgufFile> file(new GgufFile);
    file->path_ = std::move(name);
    for (const compute::Tensor& tensor : tensors) {
        file->size_bytes_ += tensor.bytes.size();
    }
    file->metadata_by_key_ = sorted_by_name(metadata, kKeyOf);
    file->tensors_by_name_ = sorted_by_name(tensors, kNameOf);
    file->metadata_ = std::move(metadata);
    file->tensors_ = std::move(tensors);
    file->map_ = std::move(memory);
    return file;
}

const compute::Tensor* GgufFile::find_tensor(std::string_view name) const {
    return find_by_name(tensors_, tensors_by_name_, name, kNameOf);
}

const GgufValue* GgufFile::find(std::string_view key) const {
    const Entry* const entry = find_by_name(metadata_, metadata_by_key_, key, kKeyOf);
    return entry == nullptr ? nullptr : &entry->value;
}

std::optional<std::int64_t> GgufFile::find_integer(std::string_view key) const {
    const GgufValue* const value = find(key);
    if (value == nullptr) return std::nullopt;
    if (const auto* const number = std::get_if<std::int64_t>(value)) return *number;
    const auto* const number = std::get_if<std::uint64_t>(value);
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (number == nullptr || *number > kMax) return std::nullopt;
    return static_cast<std::int64_t>(*number);
}

std::optional<double> GgufFile::find_real(std::string_view key) const {
    const GgufValue* const value = find(key);
    const auto* const number = value == nullptr ? nullptr : std::get_if<double>(value);
    return number == nullptr ? std::nullopt : std::optional(*number);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
    const GgufValue* const value = find(key);
    const auto* const truth = value == nullptr ? nullptr : std::get_if<bool>(value);
    return truth == nullptr ? std::nullopt : std::optional(*truth);
}

const std::string* GgufFile::find_string(std::string_view key) const {
    const GgufValue* const value = find(key);
    return value == nullptr ? nullptr : std::get_if<std::string>(value);
}

const GgufArray* GgufFile::find_array(std::string_view key) const {
    const GgufValue* const value = find(key);
    const auto* const array =
        value == nullptr ? nullptr : std::get_if<std::shared_ptr<const GgufArray>>(value);
    return array == nullptr ? nullptr : array->get();
}

Result<std::int64_t> GgufFile::integer(std::string_view key) const {
    if (const auto value = find_integer(key)) return *value;
    return fail(ErrorCode::corrupt,
                "cannot read " + path_ + ": no integer " + quoted(key) +
                    " in its metadata; convert the model again",
                "gguf");
}

Result<std::string> GgufFile::string(std::string_view key) const {
    if (const std::string* const value = find_string(key)) return *value;
    return fail(ErrorCode::corrupt,
                "cannot read " + path_ + ": no string " + quoted(key) +
                    " in its metadata; convert the model again",
                "gguf");
}

}  // namespace hearth::formats
