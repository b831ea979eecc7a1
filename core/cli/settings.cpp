#include "core/cli/settings.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

namespace hearth::cli {
namespace {

using Json = nlohmann::json;

constexpr std::uintmax_t kSettingsBytesMax = 1 << 20;

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

/// The first fault of a settings file, or none.
class SettingsReader {
  public:
    explicit SettingsReader(Settings& out) : out_(out) {}

    std::string read(const Json& json) {
        if (!json.is_object()) return "it is not a JSON object";
        for (const auto& [key, value] : json.items()) {
            if (!read_key(key, value))
                return fault_.empty() ? "it has the unknown key \"" + key + "\"" : fault_;
        }
        return {};
    }

  private:
    bool read_key(const std::string& key, const Json& value) {
        if (key == "model") return read_string(key, value, out_.model);
        if (key == "backend") return read_string(key, value, out_.backend);
        if (key == "threads") return read_count(key, value, out_.threads);
        if (key == "context_tokens") return read_count(key, value, out_.context_tokens);
        if (key == "kv_cache") return read_name(key, value, cache_type_names(), out_.kv_cache);
        if (key == "prediction_block") return read_string(key, value, out_.prediction_block);
        if (key == "completion_confidence")
            return read_share(key, value, out_.completion_confidence);
        if (key == "completion_copy") return read_bool(key, value, out_.completion_copy);
        if (key == "cold_prompt_ms") return read_count(key, value, out_.cold_prompt_ms.emplace());
        if (key == "line_search_ms") return read_count(key, value, out_.line_search_ms.emplace());
        if (key == "line_judge_ms") return read_count(key, value, out_.line_judge_ms.emplace());
        if (key == "answer_confidence") return read_share(key, value, out_.answer_confidence);
        if (key == "plugin_folders") return read_folders(key, value);
        if (key == "plugins") return read_plugins(key, value);
        return false;
    }
    bool read_string(const std::string& key, const Json& value, std::string& out) {
        if (!value.is_string()) return refuse(key, "a string");
        out = value.get<std::string>();
        return true;
    }
    bool read_name(const std::string& key,
                   const Json& value,
                   const std::vector<std::string>& names,
                   std::string& out) {
        std::string wanted;
        for (const std::string& name : names) {
            wanted += (wanted.empty() ? "\"" : " or \"") + name + "\"";
            if (value.is_string() && value.get<std::string>() == name) out = name;
        }
        return out.empty() ? refuse(key, wanted) : true;
    }
    bool read_count(const std::string& key, const Json& value, std::int32_t& out) {
        constexpr std::int64_t kCountMax = 1 << 24;
        if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
            value.get<std::int64_t>() > kCountMax) {
            return refuse(key, "a whole number from 0 to " + std::to_string(kCountMax));
        }
        out = value.get<std::int32_t>();
        return true;
    }
    bool read_share(const std::string& key, const Json& value, std::optional<double>& out) {
        if (!value.is_number() || value.get<double>() < 0.0 || value.get<double>() > 1.0) {
            return refuse(key, "a number from 0 to 1");
        }
        out = value.get<double>();
        return true;
    }
    bool read_bool(const std::string& key, const Json& value, bool& out) {
        if (!value.is_boolean()) return refuse(key, "true or false");
        out = value.get<bool>();
        return true;
    }
    bool read_folders(const std::string& key, const Json& value) {
        if (!value.is_array()) return refuse(key, "an array of strings");
        for (const Json& folder : value) {
            if (!read_string(key, folder, out_.plugin_folders.emplace_back())) return false;
        }
        return true;
    }
    bool read_plugins(const std::string& key, const Json& value) {
        if (!value.is_object()) return refuse(key, "an object of objects");
        for (const auto& [id, settings] : value.items()) {
            if (!settings.is_object()) return refuse(key + "." + id, "an object of strings");
            for (const auto& [name, text] : settings.items()) {
                if (!read_string(key + "." + id + "." + name, text, out_.plugins[id][name]))
                    return false;
            }
        }
        return true;
    }
    bool refuse(const std::string& key, const std::string& wanted) {
        fault_ = "\"" + key + "\" should be " + wanted;
        return false;
    }

    Settings& out_;
    std::string fault_;
};

}  // namespace

std::string settings_path() {
    if (std::string path = variable("HEARTH_SETTINGS"); !path.empty()) return path;
    if (const std::string folder = variable("XDG_CONFIG_HOME"); !folder.empty()) {
        return folder + "/hearth/settings.json";
    }
    return variable("HOME") + "/.config/hearth/settings.json";
}

const std::vector<std::string>& cache_type_names() {
    static const std::vector<std::string> names = {"f16", "q8_0"};
    return names;
}

compute::Dtype find_cache_type(const std::string& option, const Settings& settings) {
    const std::string& name = option.empty() ? settings.kv_cache : option;
    if (name == "f32") return compute::Dtype::f32;
    return name == "q8_0" ? compute::Dtype::q8_0 : compute::Dtype::f16;
}

Result<Settings> load_settings(const std::string& path) {
    Settings settings;
    std::error_code missing;
    const std::uintmax_t size_bytes = std::filesystem::file_size(path, missing);
    if (missing) return settings;
    const auto broken = [&](const std::string& text) {
        return fail(
            ErrorCode::corrupt, "cannot use the settings in " + path + ": " + text, "settings");
    };
    if (size_bytes > kSettingsBytesMax) return broken("it is larger than 1 MiB");
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    const Json json = Json::parse(text, nullptr, false, true);
    if (json.is_discarded()) return broken("it is not JSON");
    if (const std::string fault = SettingsReader(settings).read(json); !fault.empty())
        return broken(fault);
    return settings;
}

Result<std::string> find_model(const std::string& option,
                               const Settings& settings,
                               const std::string& program_folder) {
    const std::filesystem::path folder = program_folder;
    const std::string installed =
        (folder / "../share/hearth/models/default.gguf").lexically_normal().string();
    std::string path = option;
    if (path.empty()) path = variable("HEARTH_MODEL");
    if (path.empty()) path = settings.model;
    if (path.empty()) path = installed;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) return path;
    return fail(
        ErrorCode::not_found,
        "there is no model file at " + path +
            "; name a GGUF file with --model, with the variable HEARTH_MODEL or as \"model\" in " +
            settings_path(),
        "settings");
}

std::string find_prediction_block(const std::string& option,
                                  const Settings& settings,
                                  const std::string& model_path) {
    if (!wants_prediction(option, settings)) return {};
    if (!option.empty()) return option;
    if (!settings.prediction_block.empty()) return settings.prediction_block;
    const auto beside = std::filesystem::path(model_path).replace_filename("mtp.gguf");
    std::error_code error;
    return std::filesystem::is_regular_file(beside, error) ? beside.string() : std::string();
}

bool wants_prediction(const std::string& option, const Settings& settings) {
    return (option.empty() ? settings.prediction_block : option) != "none";
}

std::vector<std::string> plugin_folders(const Settings& settings,
                                        const std::string& program_folder) {
    std::vector<std::string> folders = {program_folder + "/../lib/hearth/plugins"};
    folders.insert(folders.end(), settings.plugin_folders.begin(), settings.plugin_folders.end());
    return folders;
}

}  // namespace hearth::cli
