// Private to lsp/protocol: one `describe(archive, value)` per struct gives both its reader and its
// writer.
//   archive("line", value.line);      required
//   archive("range", value.range);    optional where the member is a std::optional: absent or null
//   is empty
// Unknown members of a message are ignored, as LSP asks.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/result.h"
#include "lsp/protocol/basic.h"

namespace hearth::lsp {

using Json = nlohmann::json;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

class JsonReader;
class JsonWriter;

template <typename T>
concept Described = requires(JsonReader& archive, T& value) {
    describe(archive, value);
};

/// Reads members of one object; keeps the first fault with its place.
class JsonReader {
  public:
    static constexpr bool kReads = true;

    JsonReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
        if (!object_.is_object()) fault_ = path_ + ": expected an object";
    }

    template <typename T>
    void operator()(const char* name, T& out) {
        if (!fault_.empty()) return;
        const auto member = object_.find(name);
        const bool is_present = member != object_.end() && !member->is_null();
        if constexpr (std::is_same_v<T, LspAny>) {
            if (member != object_.end()) out = LspAny(std::make_shared<Json>(*member));
        } else if constexpr (IsOptional<T>::value) {
            if (is_present) read(*member, out.emplace(), path_ + "." + name);
        } else {
            if (!is_present) {
                fault_ = path_ + "." + name + ": missing";
                return;
            }
            read(*member, out, path_ + "." + name);
        }
    }

    /// A fault of the caller's own.
    void refuse(const std::string& text) {
        if (fault_.empty()) fault_ = text;
    }
    [[nodiscard]] const Json& object() const { return object_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] const std::string& fault() const { return fault_; }

    template <typename T>
    void read(const Json& json, T& out, const std::string& path) {
        if (!fault_.empty()) return;
        if constexpr (std::is_same_v<T, LspAny>) {
            out = LspAny(std::make_shared<Json>(json));
        } else if constexpr (Described<T>) {
            JsonReader inner(json, path);
            if (inner.fault_.empty()) describe(inner, out);
            fault_ = inner.fault_;
        } else {
            read_plain(json, out, path);
        }
    }

  private:
    void read_plain(const Json& json, bool& out, const std::string& path) {
        if (!json.is_boolean()) {
            fault_ = path + ": expected true or false";
        } else {
            out = json.get<bool>();
        }
    }
    void read_plain(const Json& json, std::string& out, const std::string& path) {
        if (!json.is_string()) {
            fault_ = path + ": expected a string";
        } else {
            out = json.get_ref<const std::string&>();
        }
    }
    void read_plain(const Json& json, double& out, const std::string& path) {
        if (!json.is_number()) {
            fault_ = path + ": expected a number";
        } else {
            out = json.get<double>();
        }
    }
    template <typename Integer>
    requires std::is_integral_v<Integer>
    void read_plain(const Json& json, Integer& out, const std::string& path) {
        // Some clients write integers as 3.0.
        const double number = json.is_number() ? json.get<double>() : std::nan("");
        constexpr double kMin = static_cast<double>(std::numeric_limits<Integer>::min());
        constexpr double kMax = static_cast<double>(std::numeric_limits<Integer>::max());
        constexpr double kExactMax =
            9007199254740992.0;  // 2^53: beyond it JSON numbers are not exact
        if (!(number >= kMin && number <= std::min(kMax, kExactMax)) ||
            std::trunc(number) != number) {
            fault_ = path + ": expected an integer in range";
        } else {
            out = static_cast<Integer>(number);
        }
    }
    template <typename T>
    void read_plain(const Json& json, std::vector<T>& out, const std::string& path) {
        if (!json.is_array()) {
            fault_ = path + ": expected an array";
            return;
        }
        out.clear();
        out.reserve(json.size());
        for (const Json& element : json) {
            const std::string place = path + "[" + std::to_string(out.size()) + "]";
            read(element, out.emplace_back(), place);
        }
    }
    template <typename T>
    void read_plain(const Json& json, std::map<std::string, T>& out, const std::string& path) {
        if (!json.is_object()) {
            fault_ = path + ": expected an object";
            return;
        }
        for (const auto& [key, element] : json.items()) {
            std::string place = path;
            place.append("[").append(key).append("]");
            read(element, out[key], place);
        }
    }
    void read_plain(const Json& json, ProgressToken& out, const std::string& path) {
        if (json.is_string()) {
            out = json.get<std::string>();
        } else {
            read_plain(json, out.emplace<std::int64_t>(), path);
        }
    }

    const Json& object_;
    std::string path_;
    std::string fault_;
};

/// Writes members into one object.
class JsonWriter {
  public:
    static constexpr bool kReads = false;

    template <typename T>
    void operator()(const char* name, const T& value) {
        if constexpr (std::is_same_v<T, LspAny>) {
            if (!value.is_absent()) object_[name] = *value.get();
        } else if constexpr (IsOptional<T>::value) {
            if (value.has_value()) object_[name] = write(*value);
        } else {
            object_[name] = write(value);
        }
    }

    template <typename T>
    static Json write(const T& value) {
        if constexpr (std::is_same_v<T, LspAny>) {
            return value.is_absent() ? Json() : *value.get();
        } else if constexpr (Described<T>) {
            JsonWriter inner;
            // describe() takes its value by reference for reading's sake; a writer does not change
            // it.
            describe(inner, const_cast<T&>(value));
            return std::move(inner.object_);
        } else if constexpr (std::is_same_v<T, ProgressToken>) {
            return std::visit([](const auto& token) { return Json(token); }, value);
        } else {
            return write_plain(value);
        }
    }

    [[nodiscard]] Json& object() { return object_; }

  private:
    template <typename T>
    static Json write_plain(const T& value) {
        return Json(value);
    }
    template <typename T>
    static Json write_plain(const std::vector<T>& values) {
        Json array = Json::array();
        for (const T& value : values) {
            array.push_back(write(value));
        }
        return array;
    }
    template <typename T>
    static Json write_plain(const std::map<std::string, T>& values) {
        Json object = Json::object();
        for (const auto& [key, value] : values) {
            object[key] = write(value);
        }
        return object;
    }

    Json object_ = Json::object();
};

template <typename T>
Result<T> from_any(const LspAny& any) {
    static const Json empty = Json::object();
    T value;
    JsonReader reader(any.is_absent() ? empty : *any.get(), "params");
    if (reader.fault().empty()) describe(reader, value);
    if (!reader.fault().empty()) return fail(ErrorCode::invalid_argument, reader.fault(), "lsp");
    return value;
}

template <typename T>
LspAny to_any(const T& value) {
    return LspAny(std::make_shared<Json>(JsonWriter::write(value)));
}

}  // namespace hearth::lsp

/// Makes from_any and to_any of a described struct available to the other files of the program.
#define HEARTH_LSP_STRUCT(Type)                              \
    template Result<Type> from_any<Type>(const LspAny& any); \
    template LspAny to_any<Type>(const Type& value)
