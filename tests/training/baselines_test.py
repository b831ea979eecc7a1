"""What baselines answer, on small pieces of code."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import baselines


class CopyTest(unittest.TestCase):
    def test_the_longest_match_decides(self):
        cases = [
            ("open(a)\nclose(a)\nopen(b)\nclo", "\n", "se(a)"),
            ("x = alpha\ny = beta\nx = ", "\n", "alpha"),
            # Nearer but shorter matches lose.
            ("int total = 1;\ntotal = 2;\nint total = ", "\n", "1;"),
            # Of equal matches the last one before the cursor wins, before any after it.
            ("k = 1\nk = 2\nk = ", "\nk = 3\n", "2"),
            ("first\nk = ", "\nj\nk = 3\n", "3"),
            # A place that nothing follows in its line is passed over.
            ("k = 1\nk = \nk = ", "\n", "1"),
            ("abc", "\n", ""),
            ("a", "\n", ""),
            ("", "\nx", ""),
        ]
        for prefix, suffix, expected in cases:
            with self.subTest(prefix=prefix):
                self.assertEqual(baselines.copy_lines(prefix, [suffix]), expected)

    def test_a_copy_has_as_many_lines_as_are_wanted(self):
        text = "if a:\n    b()\n    c()\n\nd()\nif a:\n"
        for count, expected in [(1, "    b()"), (2, "    b()\n    c()"), (4, "    b()\n    c()\n\nd()")]:
            with self.subTest(count=count):
                self.assertEqual(baselines.copy_lines(text, [], count), expected)

    def test_of_other_texts_the_first_with_the_longest_match_is_copied(self):
        texts = ["\n", "j = 2\nnk = 3\n", "first\nk = 4\n", "first\nk = 5\n"]
        self.assertEqual(baselines.copy_lines("first\nk = ", texts), "4")
        for length in range(1, 12):
            shared = "abcdefghijkl"[:length]
            self.assertEqual(baselines.copy_lines(f"-{shared}", [f"c1\n{shared[1:]}2\n", f"+{shared}3\n"]), "3")

    def test_in_an_editor_all_of_its_files_are_copied_from(self):
        case = {"kind": "line_tail", "prefix": "k=", "suffix": "\n", "target": "4"}
        beside = ("project", "all\nk=", "\nnone\n", [("a.c", "k=3\n"), ("b.c", "all\nk=4\n")])
        self.assertEqual((baselines.copy_case(case), baselines.copy_case(case, beside)), ("", "4"))

    def test_an_argument_list_ends_at_its_bracket(self):
        case = {"kind": "argument_list", "prefix": "f(a, g(b)) + 1\nf(", "suffix": ")\n", "target": "c"}
        self.assertEqual(baselines.copy_case(case), "a, g(b)")
        self.assertEqual(baselines.copy_case(case | {"kind": "line_tail"}), "a, g(b)) + 1")


class ExplainTest(unittest.TestCase):
    def test_the_name_of_a_function_is_found(self):
        cases = [
            ("def parse_line(x):", "parse line"),
            ("func (s *Server) HandleHTTPConn(c net.Conn) error {", "handle http conn"),
            ("pub fn parse_all<'a>(x: &'a str) -> T {", "parse all"),
            ("static inline int sdsAvail(const sds s) {", "sds avail"),
            ("export const toName = (a) => {", "to name"),
            ("exports.find = function (a) {", "find"),
            ("template <class T>\nauto format_to(T out) {", "format to"),
            ("@Override\npublic int size() {", "size"),
            ("if (x) {", ""),
        ]
        for code, expected in cases:
            with self.subTest(code=code):
                self.assertEqual(baselines.name_sentence(code), expected)

    def test_the_nearest_function_shares_rare_words(self):
        pairs = [
            {"code": "def all(read, footer, file, " + ", ".join(map("word{}rare".format, "abcdefghij")) + "):",
             "sentence": "Does everything."},
            {"code": "def read_header(file):", "sentence": "Reads the header."},
            {"code": "def read_footer(file):", "sentence": "Reads the footer."},
            {"code": "def read_file(file):", "sentence": "Reads the file."},
        ]  # fmt: skip
        nearest = baselines.NearestSentence(pairs)
        self.assertEqual(nearest.of("def parse_footer(file, read):"), "Reads the footer.")
        self.assertEqual(nearest.of("def unknown():"), "")
        self.assertEqual(baselines.NearestSentence([]).of("def read():"), "")

    def test_an_answer_names_a_word_of_the_code(self):
        code = "def parseHeader(is_done):\n    return None"
        for text, expected in [("Parses the thing.", True), ("A header.", True), ("Done so.", True), ("Is it so.", False),
                               ("Returns none of it.", False), ("The headerless.", False)]:  # fmt: skip
            with self.subTest(text=text):
                self.assertEqual(baselines.names_a_word(code, text), expected)


class FixTest(unittest.TestCase):
    def test_brackets_are_put_in_order(self):
        cases = [("foo(a, b;", "foo(a, b);"), ("foo(a));", "foo(a);"), ("if (a {", "if (a) {"), ("x = [1, 2;", "x = [1, 2];"),
                 ("return a;;", "return a;"), ("def f(x:", "def f(x):"), ("call(a[1);", "call(a[1]);"),
                 ("} else {", "} else {"), ('print(")")', 'print(")")'), ("int main() {", "int main() {"),
                 ("}", "}")]  # fmt: skip
        for line, expected in cases:
            with self.subTest(line=line):
                self.assertEqual(baselines.balanced(line), expected)

    def test_a_strange_name_becomes_the_most_frequent_one(self):
        before, after = "count = 0\nother = 1\n", "count += 1\nprint(count)\n"
        self.assertEqual(baselines.most_frequent_name(before, "other = cuont", after), "other = count")
        self.assertEqual(baselines.most_frequent_name(before, "other = count", after), "other = count")


if __name__ == "__main__":
    unittest.main()
