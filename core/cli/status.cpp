// hearth status: what the daemon is and does.
#include <iomanip>
#include <iostream>

#include <nlohmann/json.hpp>

#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"

namespace hearth::cli {
namespace {

void print_json(const lsp::HearthStatus& status) {
    nlohmann::ordered_json json;
    json["version"] = status.version;
    json["build_id"] = status.build_id;
    json["model"] = status.model;
    json["backend"] = status.backend;
    json["process_id"] = status.process_id;
    json["clients"] = status.clients;
    json["requests"] = status.requests;
    json["uptime_s"] = status.uptime_s;
    json["running"] = status.running;
    json["waiting"] = status.waiting;
    json["plugins"] = status.plugins;
    json["left_out"] = status.left_out;
    json["placement"] = status.placement;
    json["steps"] = status.steps;
    json["steps_abandoned"] = status.steps_abandoned;
    json["tokens_drafted"] = status.tokens_drafted;
    json["tokens_guessed_right"] = status.tokens_guessed_right;
    json["tokens_predicted"] = status.tokens_predicted;
    json["tokens_predicted_right"] = status.tokens_predicted_right;
    std::cout << json.dump() << "\n";
}

void print_text(const lsp::HearthStatus& status) {
    std::cout << "build     " << status.build_id << "\n"
              << "model     " << status.model << "\n"
              << "backend   " << status.backend << "\n"
              << "placement " << status.placement << "\n"
              << "process   " << status.process_id << ", up " << std::fixed << std::setprecision(0)
              << status.uptime_s << " s\n"
              << "clients   " << status.clients << " (this one included)\n"
              << "requests  " << status.requests << " answered, " << status.running << " running, "
              << status.waiting << " waiting\n"
              << "steps     " << status.steps << " of the engine, " << status.steps_abandoned
              << " of them given up\n"
              << "drafts    " << status.tokens_drafted << " tokens tried, "
              << status.tokens_guessed_right << " of them right; by the model's own block "
              << status.tokens_predicted << ", " << status.tokens_predicted_right << " right\n";
    for (const std::string& id : status.plugins) {
        std::cout << "plugin    " << id << "\n";
    }
    for (const std::string& reason : status.left_out) {
        std::cout << "left out  " << reason << "\n";
    }
}

Result<int> run(bool is_json) {
    HEARTH_TRY(const std::unique_ptr<lsp::Client> client, find_daemon(false));
    HEARTH_TRY(const lsp::LspAny answer, client->call("hearth/status", {}, kAnswerPatience));
    HEARTH_TRY(const lsp::HearthStatus status, lsp::from_any<lsp::HearthStatus>(answer));
    if (is_json) {
        print_json(status);
    } else {
        print_text(status);
    }
    return kExitDone;
}

}  // namespace

void add_status_command(Program& program) {
    const auto is_json = std::make_shared<bool>(false);
    CLI::App* command = program.add(
        "status", "Say what the daemon is and does", [is_json] { return run(*is_json); });
    command->add_flag("--json", *is_json, "as one line of JSON");
}

}  // namespace hearth::cli
