#include "core/formats/gguf_parser.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>

#include "core/compute/dtype.h"
#include "core/formats/gguf_names.h"
#include "core/formats/gguf_types.h"

namespace hearth::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are read as they lie in the file");

constexpr std::uint64_t kDefaultAlignment = 32;
// The least bytes that an entry can take: what a count in the header is held against.
constexpr std::uint64_t kMetadataBytesMin = 8 + 1 + 4 + 1;
constexpr std::uint64_t kTensorInfoBytesMin = 8 + 1 + 4 + 8 + 4 + 8;

/// Types of the format that hearth does not read, so that the message can name them.
constexpr std::array<std::pair<std::uint32_t, std::string_view>, 21> kForeignTypes = {{
    {3, "Q4_1"},    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"},
    {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},
    {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},   {27, "I64"},    {28, "F64"},   {29, "IQ1_M"},
    {34, "TQ1_0"},  {35, "TQ2_0"},   {40, "NVFP4"},
}};

std::string foreign_type_name(std::uint32_t number) {
    for (const auto& [known, name] : kForeignTypes) {
        if (known == number) return std::string(name);
    }
    return "number " + std::to_string(number);
}

}  // namespace

/// Walks the bytes once, front to back; `offset_` never passes their end.
class GgufParser {
  public:
    GgufParser(std::span<const std::byte> bytes, std::string name)
        : bytes_(bytes),
          file_(new GgufFile) {
        file_->path_ = std::move(name);
        file_->size_bytes_ = bytes.size();
    }

    Result<std::shared_ptr<const GgufFile>> parse(std::shared_ptr<const void> map) {
        file_->map_ = std::move(map);
        HEARTH_TRY(const Counts counts, parse_header());
        for (std::uint64_t i = 0; i < counts.metadata; ++i) {
            HEARTH_CHECK(parse_entry());
        }
        HEARTH_TRY(file_->metadata_by_key_, index(file_->metadata_, kKeyOf, "metadata keys"));
        HEARTH_TRY(const std::uint64_t alignment, find_alignment());
        std::vector<std::uint64_t> offsets;
        offsets.reserve(counts.tensors);
        file_->tensors_.reserve(counts.tensors);
        for (std::uint64_t i = 0; i < counts.tensors; ++i) {
            HEARTH_TRY(const std::uint64_t offset, parse_tensor_info(alignment));
            offsets.push_back(offset);
        }
        HEARTH_TRY(file_->tensors_by_name_, index(file_->tensors_, kNameOf, "tensors"));
        HEARTH_CHECK(place_tensors(offsets, alignment));
        return std::shared_ptr<const GgufFile>(std::move(file_));
    }

  private:
    struct Counts {
        std::uint64_t tensors;
        std::uint64_t metadata;
    };

    [[nodiscard]] Failure broken(ErrorCode code, const std::string& found) const {
        return fail(code, "cannot read " + file_->path_ + ": " + found, "gguf");
    }
    /// `found` is about the bytes just before the cursor.
    [[nodiscard]] Failure corrupt(const std::string& found) const {
        return broken(ErrorCode::corrupt,
                      found + " (near byte " + std::to_string(offset_) +
                          "); the file is damaged or not complete, fetch it again");
    }

    [[nodiscard]] std::uint64_t left() const { return bytes_.size() - offset_; }

    template <typename Number>
    Result<Number> number(const char* what) {
        if (left() < sizeof(Number)) return corrupt(std::string("the file ends inside ") + what);
        Number value = {};
        std::memcpy(&value, bytes_.data() + offset_, sizeof(Number));
        offset_ += sizeof(Number);
        return value;
    }

    Result<std::string> text(const char* what, std::uint64_t bytes_max) {
        HEARTH_TRY(const auto length, number<std::uint64_t>(what));
        if (length > bytes_max) {
            return corrupt(std::string(what) + " of " + std::to_string(length) +
                           " bytes, more than " + std::to_string(bytes_max));
        }
        if (length > left()) return corrupt(std::string("the file ends inside ") + what);
        const auto* const start = reinterpret_cast<const char*>(bytes_.data() + offset_);
        offset_ += length;
        return std::string(start, length);
    }

    /// A text that is not empty and holds no control characters.
    Result<std::string> identifier(const char* what, std::uint64_t bytes_max) {
        HEARTH_TRY(std::string name, text(what, bytes_max));
        const bool is_clean = std::none_of(
            name.begin(), name.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7F'; });
        if (name.empty() || !is_clean) {
            return corrupt(std::string(what) + " that is empty or has control characters");
        }
        return name;
    }

    Result<Counts> parse_header() {
        HEARTH_TRY(const auto magic, number<std::uint32_t>("the magic"));
        if (magic != kGgufMagic) {
            return broken(ErrorCode::corrupt, "it does not start with 'GGUF'; name a GGUF file");
        }
        HEARTH_TRY(const auto version, number<std::uint32_t>("the version"));
        if (version != 0 && (version & 0xFFFFU) == 0) {
            return broken(ErrorCode::unsupported,
                          "it is big-endian; use the little-endian file of this model");
        }
        if (version != 2 && version != kGgufVersion) {
            return broken(ErrorCode::unsupported,
                          "GGUF version " + std::to_string(version) +
                              ", but only 2 and 3 are known; convert it again");
        }
        HEARTH_TRY(const auto tensors, number<std::uint64_t>("the tensor count"));
        HEARTH_TRY(const auto metadata, number<std::uint64_t>("the metadata count"));
        if (tensors > GgufLimits::kTensorCountMax || tensors > left() / kTensorInfoBytesMin) {
            return corrupt(std::to_string(tensors) + " tensors, more than the file can hold");
        }
        if (metadata > GgufLimits::kMetadataCountMax || metadata > left() / kMetadataBytesMin) {
            return corrupt(std::to_string(metadata) +
                           " metadata keys, more than the file can hold");
        }
        return Counts{tensors, metadata};
    }

    Result<void> parse_entry() {
        HEARTH_TRY(std::string key, identifier("a metadata key", GgufLimits::kKeyBytesMax));
        HEARTH_TRY(const auto type, number<std::uint32_t>("a metadata type"));
        auto value = parse_value(static_cast<GgufType>(type));
        if (!value) {
            Error error = std::move(value).error();
            error.text += " (key " + quoted(key) + ")";
            return fail(std::move(error));
        }
        file_->metadata_.push_back({std::move(key), std::move(value).value()});
        return {};
    }

    template <typename Number, typename Wide>
    Result<GgufValue> scalar() {
        HEARTH_TRY(const auto value, number<Number>("a metadata value"));
        return GgufValue(static_cast<Wide>(value));
    }

    Result<GgufValue> parse_value(GgufType type) {
        switch (type) {
            case GgufType::u8:
                return scalar<std::uint8_t, std::uint64_t>();
            case GgufType::i8:
                return scalar<std::int8_t, std::int64_t>();
            case GgufType::u16:
                return scalar<std::uint16_t, std::uint64_t>();
            case GgufType::i16:
                return scalar<std::int16_t, std::int64_t>();
            case GgufType::u32:
                return scalar<std::uint32_t, std::uint64_t>();
            case GgufType::i32:
                return scalar<std::int32_t, std::int64_t>();
            case GgufType::u64:
                return scalar<std::uint64_t, std::uint64_t>();
            case GgufType::i64:
                return scalar<std::int64_t, std::int64_t>();
            case GgufType::f32:
                return scalar<float, double>();
            case GgufType::f64:
                return scalar<double, double>();
            case GgufType::boolean: {
                HEARTH_TRY(const auto value, number<std::uint8_t>("a metadata value"));
                if (value > 1) return corrupt("a bool that is neither 0 nor 1");
                return GgufValue(value == 1);
            }
            case GgufType::string: {
                HEARTH_TRY(std::string value, text("a string", GgufLimits::kStringBytesMax));
                return GgufValue(std::move(value));
            }
            case GgufType::array:
                return parse_array();
        }
        return corrupt("metadata type " + std::to_string(static_cast<std::uint32_t>(type)) +
                       ", which the format does not have");
    }

    Result<GgufValue> parse_array() {
        HEARTH_TRY(const auto type_number, number<std::uint32_t>("an array type"));
        HEARTH_TRY(const auto count, number<std::uint64_t>("an array length"));
        const auto type = static_cast<GgufType>(type_number);
        const std::uint64_t element_bytes = bytes_min(type);
        if (element_bytes == 0) {
            return corrupt("an array of type " + std::to_string(type_number) +
                           ", which is no plain type");
        }
        if (count > GgufLimits::kArrayElementsMax || count > left() / element_bytes) {
            return corrupt("an array of " + std::to_string(count) +
                           " elements, more than the file can hold");
        }
        auto array = std::make_shared<GgufArray>();
        if (type == GgufType::string) {
            array->strings.reserve(count);
            for (std::uint64_t i = 0; i < count; ++i) {
                HEARTH_TRY(std::string value, text("a string", GgufLimits::kStringBytesMax));
                array->strings.push_back(std::move(value));
            }
            return GgufValue(std::move(array));
        }
        HEARTH_CHECK(parse_numbers(type, count, *array));
        return GgufValue(std::move(array));
    }

    Result<void> parse_numbers(GgufType type, std::uint64_t count, GgufArray& array) {
        switch (type) {
            case GgufType::boolean:
            case GgufType::u8:
                return copy_numbers<std::uint8_t>(count, array.integers);
            case GgufType::i8:
                return copy_numbers<std::int8_t>(count, array.integers);
            case GgufType::u16:
                return copy_numbers<std::uint16_t>(count, array.integers);
            case GgufType::i16:
                return copy_numbers<std::int16_t>(count, array.integers);
            case GgufType::u32:
                return copy_numbers<std::uint32_t>(count, array.integers);
            case GgufType::i32:
                return copy_numbers<std::int32_t>(count, array.integers);
            case GgufType::i64:
                return copy_numbers<std::int64_t>(count, array.integers);
            case GgufType::f32:
                return copy_numbers<float>(count, array.reals);
            case GgufType::f64:
                return copy_numbers<double>(count, array.reals);
            case GgufType::u64:
                HEARTH_CHECK(copy_numbers<std::uint64_t>(count, array.integers));
                // What does not fit has become negative.
                if (std::any_of(array.integers.begin(), array.integers.end(), [](std::int64_t i) {
                        return i < 0;
                    })) {
                    return corrupt("an array number above 2^63");
                }
                return {};
            case GgufType::string:
            case GgufType::array:
                break;
        }
        return corrupt("an array of no plain type");
    }

    /// The caller has checked that `count` numbers are left.
    template <typename Number, typename Wide>
    Result<void> copy_numbers(std::uint64_t count, std::vector<Wide>& to) {
        to.resize(count);
        const std::byte* from = bytes_.data() + offset_;
        for (Wide& wide : to) {
            Number value = {};
            std::memcpy(&value, from, sizeof(Number));
            // NOLINTNEXTLINE(bugprone-signed-char-misuse): an i8 is a number here
            wide = static_cast<Wide>(value);
            from += sizeof(Number);
        }
        offset_ += count * sizeof(Number);
        return {};
    }

    /// The order of `items` by name.   Errors: corrupt (two of one name).
    template <typename Item, typename Name>
    Result<std::vector<std::uint32_t>> index(const std::vector<Item>& items,
                                             Name name,
                                             const char* what) const {
        std::vector<std::uint32_t> order(items.size());
        std::iota(order.begin(), order.end(), 0U);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return name(items[a]) < name(items[b]);
        });
        const auto twice = std::adjacent_find(order.begin(), order.end(), [&](auto a, auto b) {
            return name(items[a]) == name(items[b]);
        });
        if (twice != order.end()) {
            return corrupt(std::string("two ") + what + " " + quoted(name(items[*twice])));
        }
        return order;
    }

    [[nodiscard]] Result<std::uint64_t> find_alignment() const {
        if (file_->find("general.alignment") == nullptr) return kDefaultAlignment;
        const auto alignment =
            static_cast<std::uint64_t>(file_->find_integer("general.alignment").value_or(0));
        if (!std::has_single_bit(alignment) || alignment < GgufLimits::kAlignmentMin ||
            alignment > GgufLimits::kAlignmentMax) {
            return corrupt("general.alignment that is no power of two from " +
                           std::to_string(GgufLimits::kAlignmentMin) + " to " +
                           std::to_string(GgufLimits::kAlignmentMax));
        }
        return alignment;
    }

    /// Adds a tensor without bytes; returns its offset in the tensor data.
    Result<std::uint64_t> parse_tensor_info(std::uint64_t alignment) {
        compute::Tensor tensor;
        HEARTH_TRY(tensor.name, identifier("a tensor name", GgufLimits::kTensorNameBytesMax));
        HEARTH_TRY(tensor.shape, parse_shape(tensor.name));
        HEARTH_TRY(const auto type, number<std::uint32_t>("a tensor type"));
        HEARTH_TRY(const auto offset, number<std::uint64_t>("a tensor offset"));
        const auto dtype = compute::to_dtype(type);
        if (!dtype) {
            return broken(ErrorCode::unsupported,
                          "tensor " + quoted(tensor.name) + " has type " + foreign_type_name(type) +
                              ", which hearth does not run; use a file with F32, F16, BF16, Q8_0, "
                              "Q4_0, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K weights");
        }
        tensor.dtype = *dtype;
        const std::int64_t block = compute::traits(*dtype).elements;
        if (tensor.shape.dim(-1) % block != 0) {
            return corrupt("tensor " + quoted(tensor.name) + " has rows of " +
                           std::to_string(tensor.shape.dim(-1)) + ", no multiple of " +
                           std::to_string(block));
        }
        if (offset % alignment != 0) {
            return corrupt("tensor " + quoted(tensor.name) + " is not aligned");
        }
        file_->tensors_.push_back(std::move(tensor));
        return offset;
    }

    /// The file lists the contiguous axis first, a Shape lists it last.
    Result<compute::Shape> parse_shape(const std::string& name) {
        HEARTH_TRY(const auto count, number<std::uint32_t>("an axis count"));
        if (count < 1 || count > compute::Shape::kAxesMax) {
            return corrupt("tensor " + quoted(name) + " with " + std::to_string(count) + " axes");
        }
        compute::Shape shape;
        shape.count = static_cast<int>(count);
        std::uint64_t elements = 1;
        for (std::uint32_t i = 0; i < count; ++i) {
            HEARTH_TRY(const auto dim, number<std::uint64_t>("an axis"));
            if (dim == 0 || dim > GgufLimits::kTensorElementsMax / elements) {
                return corrupt("tensor " + quoted(name) + " with an axis of " +
                               std::to_string(dim));
            }
            elements *= dim;
            shape.dims[count - 1 - i] = static_cast<std::int64_t>(dim);
        }
        return shape;
    }

    Result<void> place_tensors(const std::vector<std::uint64_t>& offsets, std::uint64_t alignment) {
        const std::uint64_t data_start = (offset_ + alignment - 1) / alignment * alignment;
        const std::uint64_t data_bytes =
            data_start < bytes_.size() ? bytes_.size() - data_start : 0;
        std::vector<compute::Tensor>& tensors = file_->tensors_;
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            const auto needed = static_cast<std::uint64_t>(
                compute::row_bytes(tensors[i].dtype, tensors[i].shape.elements()));
            if (offsets[i] > data_bytes || needed > data_bytes - offsets[i]) {
                return corrupt("tensor " + quoted(tensors[i].name) + " ends behind the file's end");
            }
            tensors[i].bytes = bytes_.subspan(data_start + offsets[i], needed);
        }
        std::vector<std::uint32_t> order(tensors.size());
        std::iota(order.begin(), order.end(), 0U);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return offsets[a] < offsets[b];
        });
        for (std::size_t i = 1; i < order.size(); ++i) {
            const std::uint32_t before = order[i - 1];
            if (offsets[order[i]] - offsets[before] < tensors[before].bytes.size()) {
                return corrupt("tensors " + quoted(tensors[before].name) + " and " +
                               quoted(tensors[order[i]].name) + " share bytes");
            }
        }
        return {};
    }

    const std::span<const std::byte> bytes_;
    std::uint64_t offset_ = 0;
    std::shared_ptr<GgufFile> file_;
};

Result<std::shared_ptr<const GgufFile>> parse_gguf(std::span<const std::byte> bytes,
                                                   std::string name,
                                                   std::shared_ptr<const void> map) {
    return GgufParser(bytes, std::move(name)).parse(std::move(map));
}

}  // namespace hearth::formats
