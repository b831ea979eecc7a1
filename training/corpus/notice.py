"""Writes the NOTICE of a model: for each package, who holds the rights and under which licence."""

import collections

import debian_copyright

_INTRODUCTION = """\
The weights of the default model were trained on files of the Debian source packages below. Each file
was used under the licence that the package's debian/copyright gives for it. Listed are the holders
and licences of the files that were used; the texts of the licences follow at the end. Where a file is
offered under one licence or another, it is used under the permissive one.
"""


def write_notice(path, files, copyright_of):
    packages = collections.defaultdict(list)
    for file in files:
        if file.split == "train":
            packages[file.package].append(file)
    licence_texts = {}
    with open(path, "w", encoding="utf-8") as notice:
        notice.write(_INTRODUCTION)
        for package in sorted(packages, key=lambda p: p.name):
            parsed = copyright_of(package)
            notice.write(f"\n{package.name} {package.version}\n")
            if parsed.source:
                notice.write(f"  Source: {parsed.source}\n")
            grants = collections.Counter((f.stanza.licence, f.stanza.holders) for f in packages[package])
            for (licence, holders), count in sorted(grants.items()):
                notice.write(f"  {licence} ({count} file{'s' if count > 1 else ''}): {holders}\n")
                used = debian_copyright.allowed_names(licence, package.name)
                for name, text in parsed.licence_texts.items():
                    if name.lower() in used:
                        entry = licence_texts.setdefault(" ".join(text.split()), (set(), set(), text))
                        entry[0].add(name)
                        entry[1].add(package.name)
        for names, users, text in sorted(licence_texts.values(), key=lambda entry: sorted(entry[0])):
            notice.write(f"\n---- {', '.join(sorted(names))} ({', '.join(sorted(users))}) ----\n{_plain(text)}\n")


def _plain(text):
    """A DEP-5 text as it was: a line that holds only a dot is an empty line."""
    return "\n".join("" if line.strip() == "." else line.rstrip() for line in text.split("\n")).strip("\n")
