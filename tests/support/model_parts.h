// A model's file with some of its parts changed, made of another one in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/formats/gguf.h"

namespace hearth::test {

/// Some of a file's parts, and others in their place.
struct ModelParts {
    using File = std::shared_ptr<const formats::GgufFile>;
    using Entry = formats::GgufFile::Entry;
    using Floats = std::vector<float>;

    explicit ModelParts(const File& file)
        : original(file),
          entries(file->metadata().begin(), file->metadata().end()),
          tensors(file->tensors().begin(), file->tensors().end()) {}

    ModelParts& set(const std::string& key, const formats::GgufValue& value) {
        std::erase_if(entries, [&](const Entry& entry) { return entry.key == key; });
        entries.push_back({key, value});
        return *this;
    }
    ModelParts& count(const std::string& key, std::int64_t value) {
        return set("deepseek2." + key, value);
    }
    template <typename Predicate>
    ModelParts& keep(Predicate is_kept) {
        std::erase_if(tensors,
                      [&](const compute::Tensor& tensor) { return !is_kept(tensor.name); });
        return *this;
    }
    ModelParts& replace(const std::string& name, const compute::Shape& shape, Floats values) {
        owned->push_back(std::move(values));
        std::erase_if(tensors, [&](const compute::Tensor& tensor) { return tensor.name == name; });
        tensors.push_back(
            {name, compute::Dtype::f32, shape, std::as_bytes(std::span(owned->back()))});
        return *this;
    }
    [[nodiscard]] File file(const std::string& name = "parts.gguf") const {
        const auto memory = std::make_shared<std::pair<File, decltype(owned)>>(original, owned);
        return formats::GgufFile::from_parts(name, entries, tensors, memory);
    }

    File original;
    std::vector<Entry> entries;
    std::vector<compute::Tensor> tensors;
    std::shared_ptr<std::deque<Floats>> owned = std::make_shared<std::deque<Floats>>();
};

}  // namespace hearth::test
