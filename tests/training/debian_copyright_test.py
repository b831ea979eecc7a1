"""debian/copyright: stanzas, globs and licence rules."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "corpus"))

import debian_copyright

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: sample
Source: https://example.org/
  sample

Files: *
Copyright: 2020 Ada
 2021 Grace
License: Expat

# a comment between stanzas
Files: lib/*.c lib/old/*
Copyright: 2019 Linus
License: GPL-2+
 This is free software.
 .
 More of it.

Files: lib/old/good.c
Copyright: 2018 Ken
License: BSD-3-clause

License: Expat
 Permission is hereby granted
"""


class ParseTest(unittest.TestCase):
    def setUp(self):
        self.file = debian_copyright.parse_copyright(COPYRIGHT)

    def licence_of(self, path):
        stanza = self.file.stanza_of(path)
        return stanza.licence if stanza else None

    def test_the_last_matching_stanza_applies(self):
        cases = {
            "main.c": "Expat",
            "lib/a.c": "GPL-2+",
            "lib/deep/a.c": "GPL-2+",  # a star matches slashes too
            "lib/a.h": "Expat",
            "lib/old/x.h": "GPL-2+",
            "lib/old/good.c": "BSD-3-clause",
        }
        for path, licence in cases.items():
            with self.subTest(path):
                self.assertEqual(self.licence_of(path), licence)

    def test_only_allowed_licences_are_usable(self):
        self.assertEqual(self.file.usable_stanza_of("main.c").holders, "2020 Ada; 2021 Grace")
        self.assertIsNone(self.file.usable_stanza_of("lib/a.c"))
        self.assertIsNotNone(self.file.usable_stanza_of("lib/old/good.c"))

    def test_texts_of_licences_are_kept_once(self):
        self.assertIn("Permission is hereby granted", self.file.licence_texts["Expat"])
        self.assertIn("More of it.", self.file.licence_texts["GPL-2+"])

    def test_a_catch_all_at_the_end_does_not_hide_a_refused_stanza(self):
        text = (
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
            "Files: gpl/*\nCopyright: x\nLicense: GPL-3\n\nFiles: *\nCopyright: y\nLicense: MIT\n"
        )
        file = debian_copyright.parse_copyright(text)
        self.assertEqual(file.stanza_of("gpl/a.c").licence, "MIT")
        self.assertIsNone(file.usable_stanza_of("gpl/a.c"))
        self.assertIsNotNone(file.usable_stanza_of("src/a.c"))

    def test_a_file_without_stanza_is_refused(self):
        text = "Format: .../copyright-format/1.0/\n\nFiles: src/*\nCopyright: x\nLicense: MIT\n"
        file = debian_copyright.parse_copyright(text)
        self.assertIsNone(file.stanza_of("other/a.c"))
        self.assertIsNone(file.usable_stanza_of("other/a.c"))

    def test_other_formats_are_not_guessed_at(self):
        self.assertIsNone(debian_copyright.parse_copyright("This package was debianized by\n\nLicense: MIT\n"))
        self.assertIsNone(debian_copyright.parse_copyright(""))


class GlobTest(unittest.TestCase):
    def test_wildcards_and_escapes(self):
        import re

        cases = [
            ("*", "a/b.c", True),
            ("a?c", "abc", True),
            ("a?c", "ac", False),
            ("a?c", "a/c", True),
            ("./a.c", "a.c", True),
            ("a.c", "abc", False),
            (r"a\*.c", "a*.c", True),
            (r"a\*.c", "ab.c", False),
            ("[ab].c", "[ab].c", True),
            ("[ab].c", "a.c", False),
            ("lib", "lib/a.c", True),  # a folder's name means what is in it
            ("lib/", "lib/a.c", True),
            ("lib", "library.c", False),
            ("b.c", "a/b.c", False),  # globs start at the root
        ]
        for glob, path, matches in cases:
            with self.subTest(glob=glob, path=path):
                found = re.fullmatch(debian_copyright.glob_to_regex(glob), path)
                self.assertEqual(bool(found), matches)


class LicenceTest(unittest.TestCase):
    def test_expressions(self):
        cases = {
            "MIT": True,
            "Expat": True,
            "expat": True,
            "GPL-2+": False,
            "": False,
            "MIT or GPL-2+": True,
            "GPL-2+ or MIT": True,
            "GPL-2 or LGPL-2.1": False,
            "MIT and GPL-2+": False,
            "MIT and BSD-3-clause": True,
            "GPL-2 and MIT or ISC": True,  # "and" binds first
            "ISC or GPL-2 and MIT": True,
            "MIT or ISC, and GPL-2": False,  # a comma binds last
            "GPL-2, or MIT": True,
            "GPL-2 and LGPL-2, or MIT": True,
            "MIT, BSD-3-clause": True,
            "MIT, GPL-2": False,
            "MIT and/or GPL-2": True,
            "Apache-2.0 WITH LLVM-exception": True,
            "Apache-2.0-with-LLVM-exception": True,
            "Apache-2.0 with LLVM exception or Apache-2.0 or MIT": True,
            "GPL-2+ with autoconf exception": False,
            "Expat with Embedded exception": True,
            "Expat with advertising clause": False,
            "BSD-3-clause~Google": True,
            "BSD-4-clause~Google": False,
            "MPL-2.0": False,
            "my-own-licence": False,
            "Unlicense or MIT": True,
        }
        for expression, allowed in cases.items():
            with self.subTest(expression):
                self.assertEqual(debian_copyright.is_allowed(expression), allowed)

    def test_the_names_that_a_file_is_used_under(self):
        cases = {
            "GPL-2 or MIT": ["mit"],
            "MIT and BSD-3-clause~Google": ["mit", "bsd-3-clause~google"],
            "Apache-2.0 with LLVM exception, or GPL-2": ["apache-2.0 with llvm exception"],
            "GPL-2": [],
        }
        for expression, names in cases.items():
            self.assertEqual(debian_copyright.allowed_names(expression), names)

    def test_a_name_of_one_package_means_nothing_in_another(self):
        self.assertTrue(debian_copyright.is_allowed("Go", "golang-1.19"))
        self.assertFalse(debian_copyright.is_allowed("Go", "other"))


if __name__ == "__main__":
    unittest.main()
