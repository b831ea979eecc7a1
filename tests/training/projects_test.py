"""What an editor is said to have beside a case, by a pack that is made up."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import projects


def projects_of(*files):
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "corpus.pack"
        pack.write_bytes(b"".join(
            f"{split}\t{language}\t{project}\t{path}\t{len(text.encode())}\n{text}\n".encode()
            for split, language, project, path, text in files
        ))  # fmt: skip
        return projects.Projects(pack)


def case_of(path, prefix, target, suffix):
    return {"language": "c", "path": path, "prefix": prefix, "target": target, "suffix": suffix}


class InEditorTest(unittest.TestCase):
    def test_all_of_the_file_and_the_files_beside_it(self):
        held = projects_of(
            ("heldout", "c", "p", "a.c", "é one\ntwo\nthree\nfour\n"),
            ("heldout", "c", "p", "b.c", "b\n"),
            ("heldout", "go", "p", "c.go", "another language\n"),
            ("heldout", "c", "q", "d.c", "another project\n"),
            ("heldout", "c", "q", "a.c", "one of the same path\n"),
            ("train", "c", "p", "e.c", "never\n"),
        )
        found = held.in_editor(case_of("a.c", "two\nth", "ree", "\nfour"))
        self.assertEqual(found, ("p", "é one\ntwo\nth", "\nfour\n", [("b.c", "b\n")]))

    def test_of_a_file_that_is_not_there_the_case_alone(self):
        held = projects_of(("heldout", "c", "p", "a.c", "one\n"))
        for case in (case_of("a.c", "x", "y", "z"), case_of("b.c", "o", "n", "e")):
            self.assertEqual(held.in_editor(case), ("", case["prefix"], case["suffix"], []))


class OpenFilesTest(unittest.TestCase):
    def test_files_that_are_named_come_first_then_the_nearest(self):
        paths = ("far/away/z.c", "src/near.c", "src/in/same.c", "src/in/x.c", "lib/named.h", "src/in/a.c", "top.c")
        found = projects.open_files([(path, "") for path in paths], "src/in/a.c", '#include "named.h"\nx = y;\n')
        self.assertEqual([path for path, _ in found],
                         ["src/in/x.c", "lib/named.h", "src/in/same.c", "src/near.c", "top.c", "far/away/z.c"])  # fmt: skip

    def test_they_are_not_many(self):
        found = projects.open_files([(f"{i}.c", "") for i in range(50)], "7.c", "")
        self.assertEqual(len(found), projects.OPEN_FILES)
        self.assertNotIn("7.c", [path for path, _ in found])


if __name__ == "__main__":
    unittest.main()
