// Neovim, headless, with the plugin of editors/neovim: keys go in through its own remote interface,
// and what the user would see is read back. What the model says is compared with what hearth's
// command line prints for the same place.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"

namespace hearth::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kText =
    "int add(int a, int b) {\n    return \n}\n\nint twice(int a) {\n    return add(a, a)\n}\n";

/// The value of "text" in one line of JSON from the command line; of escapes only quotes and
/// backslashes are undone.
std::string text_of(const std::string& json) {
    const std::string key = "\"text\":\"";
    const std::size_t begin = json.find(key) + key.size();
    std::string text;
    for (std::size_t i = begin; json.at(i) != '"'; ++i) {
        const bool is_quoting = json[i] == '\\' && (json.at(i + 1) == '"' || json[i + 1] == '\\');
        if (is_quoting) ++i;
        text += json[i];
    }
    return text;
}

std::string without_spaces(std::string text) {
    text.erase(std::remove_if(
                   text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) != 0; }),
               text.end());
    return text;
}

class Editor {
  public:
    explicit Editor(const Scenario& scenario)
        : scenario_(scenario),
          server_(scenario.file("nvim.sock")) {
        const std::string hearth = Scenario::built("bin/hearth");
        const std::string setup = "lua vim.opt.runtimepath:append('" HEARTH_SOURCE_DIR
                                  "/editors/neovim') require('hearth').setup({ command = { '" +
                                  hearth + "', 'lsp' } })";
        process_ = Scenario::spawn({HEARTH_NEOVIM,
                                    "--headless",
                                    "-u",
                                    "NONE",
                                    "-i",
                                    "NONE",
                                    "-n",
                                    "--listen",
                                    server_,
                                    "-c",
                                    setup,
                                    "a.cpp"});
        wait_for(
            "luaeval('#vim.lsp.get_active_clients() > 0 and "
            "vim.lsp.get_active_clients()[1].initialized and 1 or 0')",
            [](const std::string& value) { return value == "1"; });
    }
    ~Editor() {
        send("<C-\\><C-n>:qall!<CR>");
        Scenario::wait(process_);
    }
    Editor(const Editor&) = delete;
    Editor& operator=(const Editor&) = delete;

    void send(const std::string& keys) const { run({"--remote-send", keys}); }
    [[nodiscard]] std::string evaluate(const std::string& expression) const {
        return run({"--remote-expr", expression});
    }

    /// Asks again until `is_wanted`; the last value where it never was.
    std::string wait_for(const std::string& expression,
                         const std::function<bool(const std::string&)>& is_wanted) const {
        const TimePoint deadline = std::chrono::steady_clock::now() + kPatience;
        std::string value;
        do {
            value = evaluate(expression);
            if (is_wanted(value)) return value;
        } while (std::chrono::steady_clock::now() < deadline);
        return value;
    }
    /// The suggestion, read from the extmarks that draw it.
    [[nodiscard]] std::string ghost_text() const {
        return wait_for(
            "luaeval('(function() local out = {} for _, m in "
            "ipairs(vim.api.nvim_buf_get_extmarks(0, "
            "vim.api.nvim_create_namespace(\"hearth\"), 0, -1, {details = true})) do "
            "for _, c in ipairs(m[4].virt_text or {}) do table.insert(out, c[1]) end end return "
            "table.concat(out) end)()')",
            [](const std::string& text) { return !text.empty(); });
    }
    [[nodiscard]] std::string line(int number) const {
        return evaluate("getline(" + std::to_string(number) + ")");
    }

  private:
    std::string run(std::vector<std::string> words) const {
        words.insert(words.begin(), {HEARTH_NEOVIM, "--headless", "--server", server_});
        Outcome outcome = scenario_.run(words);
        // The value comes on stdout from some versions and on stderr from others.
        return outcome.out.empty() ? outcome.err : outcome.out;
    }

    const Scenario& scenario_;
    const std::string server_;
    pid_t process_ = 0;
};

/// A scenario whose folder is the working folder, with the sample as a.cpp.
struct Workplace {
    Scenario scenario;
    fs::path before = fs::current_path();

    Workplace() {
        scenario.write("a.cpp", kText);
        fs::current_path(scenario.file(""));
    }
    ~Workplace() { fs::current_path(before); }
    Workplace(const Workplace&) = delete;
    Workplace& operator=(const Workplace&) = delete;
};

bool is_missing() {
    if (*HEARTH_NEOVIM != '\0') return false;
    std::cerr << "SKIPPED: Neovim is not installed (apt-get install neovim)\n";
    return true;
}

TEST_CASE("ghost text appears while typing, shrinks as it is typed and is accepted",
          "[editor][neovim]") {
    if (is_missing()) return;
    const Workplace place;
    const Editor editor(place.scenario);
    editor.send("jAa");
    const std::string ghost = editor.ghost_text();
    REQUIRE_FALSE(ghost.empty());
    const auto suggested_at = [&](const std::string& text, const std::string& cursor) {
        place.scenario.write("a.cpp", text);
        return text_of(place.scenario.hearth({"complete", "a.cpp", "--at", cursor, "--json"}).out);
    };
    const std::string typed =
        std::string(kText).replace(std::string(kText).find("return ") + 7, 0, "a");
    // Where the answer for the place before the "a" came first, the "a" may have been its begin.
    const std::string before = suggested_at(kText, "2:12");
    const bool is_along = before.starts_with('a') && before.substr(1) == ghost;
    CHECK((is_along || suggested_at(typed, "2:13") == ghost));

    REQUIRE(ghost.size() > 2);
    const std::string first = ghost.substr(0, 1) == "<" ? "<lt>" : ghost.substr(0, 1);
    editor.send(first);
    CHECK(editor.wait_for("luaeval('require(\"hearth.ghost\").text() or \"\"')",
                          [&](const std::string& text) { return text == ghost.substr(1); }) ==
          ghost.substr(1));
    editor.send("<Tab>");
    const std::string whole = "    return a" + ghost;
    CHECK(editor.wait_for("getline(2)", [&](const std::string& line) { return line == whole; }) ==
          whole);
    editor.send("<Esc>");
    CHECK(editor.wait_for("mode()", [](const std::string& mode) { return mode == "n"; }) == "n");
}

TEST_CASE("without a suggestion the accept key is the key it always was", "[editor][neovim]") {
    if (is_missing()) return;
    const Workplace place;
    const Editor editor(place.scenario);
    editor.send(":lua require('hearth').setup({ command = { '" + Scenario::built("bin/hearth") +
                "', 'lsp' }, is_automatic = false })<CR>");
    editor.send("4GA<Tab>x<Esc>");
    const std::string is_tab = "getline(4) ==# \"\\tx\"";
    CHECK(editor.wait_for(is_tab, [](const std::string& value) { return value == "1"; }) == "1");
}

TEST_CASE("a fix changes the faulty line as the command line says", "[editor][neovim]") {
    if (is_missing()) return;
    const Workplace place;
    const Outcome expected = place.scenario.hearth(
        {"fix", "a.cpp", "--lines", "6", "--message", "expected ';'", "--json"});
    REQUIRE(expected.exit_code == 0);
    const std::string fixed = text_of(expected.out);
    REQUIRE_FALSE(fixed.empty());
    const Editor editor(place.scenario);
    editor.send(
        ":lua vim.diagnostic.set(vim.api.nvim_create_namespace('test'), 0, {{lnum = 5, col = 0, "
        "end_lnum = 5, "
        "end_col = 20, severity = 1, message = \"expected ';'\"}})<CR>");
    editor.send(":6HearthFix<CR>");
    CHECK(editor.wait_for("getline(6)", [&](const std::string& line) { return line == fixed; }) ==
          fixed);
    CHECK(editor.line(5) == "int twice(int a) {");
}

TEST_CASE("an explanation opens in a window of its own", "[editor][neovim]") {
    if (is_missing()) return;
    const Workplace place;
    const Outcome expected = place.scenario.hearth({"explain", "a.cpp", "--lines", "5-7"});
    REQUIRE_FALSE(expected.out.empty());
    const Editor editor(place.scenario);
    editor.send(":5,7HearthExplain<CR>");
    CHECK(editor.wait_for("winnr('$')", [](const std::string& count) { return count == "2"; }) ==
          "2");
    const std::string shown = editor.evaluate(
        "luaeval('table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf("
        "vim.api.nvim_list_wins()[2]), 0, -1, false), \"\\n\")')");
    CHECK_FALSE(shown.empty());
    CAPTURE(expected.out, shown);
    // Neovim breaks long values into screen lines.
    CHECK(without_spaces(expected.out) == without_spaces(shown));
}

}  // namespace
}  // namespace hearth::test
