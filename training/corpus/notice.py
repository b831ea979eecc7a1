"""Writes the NOTICE of a model: for each package, who holds the rights and under which licence."""

import collections

_INTRODUCTION = """\
The weights of the default model were trained on files of the source packages below. Each file was
used under the licence that the package's debian/copyright (for packages named npm: its package.json
and LICENSE) gives for it. Listed are the holders and licences of the files that were used; the texts
of the licences follow at the end. Where a file is offered under one licence or another, it is used
under the permissive one.
"""


def write_notice(path, files, scanned_of):
    """`files`: the scanned files that are trained on; `scanned_of`: package name to ScannedPackage."""
    packages = collections.defaultdict(list)
    for file in files:
        packages[file.package].append(file)
    licence_texts = {}
    with open(path, "w", encoding="utf-8") as notice:
        notice.write(_INTRODUCTION)
        for name in sorted(packages):
            about = scanned_of[name].about
            notice.write(f"\n{name} {about['version']}\n")
            if about["source"]:
                notice.write(f"  Source: {about['source']}\n")
            grants = collections.Counter((f.licence, f.holders) for f in packages[name])
            for (licence, holders), count in sorted(grants.items()):
                notice.write(f"  {licence} ({count} file{'s' if count > 1 else ''}): {holders}\n")
            for licence, text in about["licence_texts"].items():
                entry = licence_texts.setdefault(" ".join(text.split()), (set(), set(), text))
                entry[0].add(licence)
                entry[1].add(name)
        for names, users, text in sorted(licence_texts.values(), key=lambda entry: sorted(entry[0])):
            notice.write(f"\n---- {', '.join(sorted(names))} ({', '.join(sorted(users))}) ----\n{_plain(text)}\n")


def _plain(text):
    """A DEP-5 text as it was: a line that holds only a dot is an empty line."""
    return "\n".join("" if line.strip() == "." else line.rstrip() for line in text.split("\n")).strip("\n")
