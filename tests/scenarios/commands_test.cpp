// The command line as a user types it: what it prints and how it ends.
#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"

namespace hearth::test {
namespace {

TEST_CASE("complete prints text or JSON, and refuses places outside the file",
          "[scenario][commands]") {
    const Scenario scenario;
    const std::string file = scenario.write("a.cpp", "int ä = \n\tint b = 2;\n");
    const Outcome json = scenario.hearth({"complete", file, "--at", "1:9", "--json"});
    CHECK(json.exit_code == 0);
    for (const char* key : {"\"text\":",
                            "\"tokens\":",
                            "\"prompt_tokens\":",
                            "\"cached_tokens\":",
                            "\"first_token_ms\":",
                            "\"total_ms\":"}) {
        CAPTURE(json.out);
        CHECK(json.out.find(key) != std::string::npos);
    }
    CHECK(scenario.hearth({"complete", file, "--at", "1:9"}).exit_code == 0);
    CHECK(scenario.hearth({"complete", file, "--at", "3:1"}).exit_code == 0);
    for (const char* place : {"1:10", "2:13", "4:1", "0:1", "1:0", "1", "a:b", "1:2:3", ""}) {
        CAPTURE(place);
        CHECK(scenario.hearth({"complete", file, "--at", place}).exit_code == 2);
    }
    CHECK(scenario.hearth({"complete", file}).exit_code == 2);
    CHECK(scenario.hearth({"complete", scenario.file("none"), "--at", "1:1"}).exit_code == 1);
    CHECK(scenario.hearth({"complete", scenario.write("bytes", "\xFF\xFE"), "--at", "1:1"})
              .exit_code == 1);
}

TEST_CASE("explain and fix answer for lines, and refuse lines that are not there",
          "[scenario][commands]") {
    const Scenario scenario;
    const std::string file = scenario.write("a.cpp", "int f() {\n    return 1\n}\n");
    const Outcome explain = scenario.hearth({"explain", file, "--lines", "1-3"});
    CHECK(explain.exit_code == 0);
    CHECK_FALSE(explain.out.empty());
    CHECK(scenario.hearth({"fix", file, "--lines", "2", "--message", "expected ';'"}).exit_code ==
          0);
    for (const char* lines : {"0-1", "2-1", "9", "1-", "x"}) {
        CAPTURE(lines);
        CHECK(scenario.hearth({"explain", file, "--lines", lines}).exit_code == 2);
    }
}

TEST_CASE("status tells of the daemon that runs, stop ends it, and both know when none does",
          "[scenario][commands]") {
    const Scenario scenario;
    CHECK(scenario.hearth({"status"}).exit_code == 1);
    CHECK(scenario.hearth({"stop"}).exit_code == 0);
    const std::unique_ptr<lsp::Client> client = scenario.start();
    const Outcome json = scenario.hearth({"status", "--json"});
    CHECK(json.exit_code == 0);
    for (const char* key : {"\"version\":",
                            "\"build_id\":",
                            "\"model\":",
                            "\"backend\":",
                            "\"clients\":",
                            "\"requests\":",
                            "\"uptime_s\":",
                            "\"steps\":",
                            "\"steps_abandoned\":",
                            "\"tokens_drafted\":",
                            "\"tokens_guessed_right\":",
                            "\"tokens_predicted\":",
                            "\"tokens_predicted_right\":"}) {
        CAPTURE(json.out);
        CHECK(json.out.find(key) != std::string::npos);
    }
    const std::string text = scenario.hearth({"status"}).out;
    CHECK(text.find("hearth.complete") != std::string::npos);
    CHECK(text.find("drafts    0 tokens tried, 0 of them right") != std::string::npos);
    CHECK(scenario.hearth({"stop"}).exit_code == 0);
    CHECK(scenario.hearth({"status"}).exit_code == 1);
}

TEST_CASE("plugins list and check need no daemon", "[scenario][commands]") {
    const Scenario scenario;
    const Outcome list = scenario.hearth({"plugins", "list"});
    CHECK(list.exit_code == 0);
    CHECK(list.out.find("hearth.open_files") != std::string::npos);
    CHECK(scenario.hearth({"plugins", "check", Scenario::built("lib/hearth/plugins/fix.so")})
              .exit_code == 0);
    CHECK(scenario.hearth({"plugins", "check", scenario.write("x.so", "no library")}).exit_code ==
          1);
}

TEST_CASE("doctor looks at everything and starts nothing", "[scenario][commands]") {
    const Scenario scenario;
    const Outcome well = scenario.hearth({"doctor"});
    CAPTURE(well.out);
    CHECK(well.exit_code == 0);
    for (const char* part :
         {"settings", "model", "cpu (", "the one in use", "hearth.complete", "none runs"}) {
        CHECK(well.out.find(part) != std::string::npos);
    }
    CHECK(scenario.hearth({"status"}).exit_code == 1);
    const std::unique_ptr<lsp::Client> client = scenario.start();
    CHECK(scenario.hearth({"doctor"}).out.find("serves") != std::string::npos);
}

TEST_CASE("doctor ends badly where something is bad", "[scenario][commands]") {
    const Scenario scenario(R"({"modle": "x"})");
    const Outcome ill = scenario.hearth({"doctor"});
    CHECK(ill.exit_code == 1);
    CHECK(ill.out.find("modle") != std::string::npos);
}

TEST_CASE("every command has help, and misuse is exit 2", "[scenario][commands]") {
    const Scenario scenario;
    for (const char* command : {"serve",
                                "stop",
                                "status",
                                "doctor",
                                "lsp",
                                "complete",
                                "explain",
                                "fix",
                                "generate",
                                "tokenize",
                                "logits",
                                "bench",
                                "models",
                                "plugins"}) {
        CAPTURE(command);
        const Outcome help = scenario.hearth({command, "--help"});
        CHECK(help.exit_code == 0);
        CHECK(help.out.find(std::string("hearth ") + command) != std::string::npos);
        CHECK(scenario.hearth({command, "--no-such-option"}).exit_code == 2);
    }
    CHECK(scenario.hearth({}).exit_code == 2);
    CHECK(scenario.hearth({"no-such-command"}).exit_code == 2);
}

}  // namespace
}  // namespace hearth::test
