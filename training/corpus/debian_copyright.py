"""Reads a machine-readable debian/copyright (DEP-5) and says under which licence a file may be used.

A file is usable only when a stanza covers it and its licence is on the allow-list below; whatever is
unknown is refused. Full licence texts are not interpreted, only their DEP-5 short names.
"""

import re
from dataclasses import dataclass

# Short names, lower case. Debian marks variants of the BSD texts as "bsd-3-clause~holder".
ALLOWED = {
    "0bsd", "apache-2", "apache-2.0", "bsd-2", "bsd-2-clause", "bsd-2-clause-freebsd", "bsd-3",
    "bsd-3-clause", "bsd-3-google", "boost-1.0", "bsl-1", "bsl-1.0", "cc0", "cc0-1.0", "expat",
    "isc", "mit", "mit/x11", "postgresql", "psf", "psf-2", "psf-2.0", "unlicense", "x11", "zlib",
}  # fmt: skip

# Names that only one package uses, for a text of the list above.
ALLOWED_IN_PACKAGE = {
    ("golang-1.19", "go"),  # the Go authors' BSD-3-clause
    ("googletest", "bsd-c3"),
    ("libssh2", "bsd3"),
    ("llvm-toolchain-15", "apache-2-llvm-exceptions"),
    ("python-cryptography", "apache"),
    ("requests", "apache"),
    ("unbound", "bsd-3-nlnetlabs"),
}


@dataclass(frozen=True)
class Stanza:
    """One "Files:" paragraph."""

    globs: tuple
    licence: str
    holders: str


@dataclass(frozen=True)
class CopyrightFile:
    stanzas: tuple
    licence_texts: dict
    source: str

    def stanza_of(self, path):
        """The stanza that applies to `path`: the last that matches, as the specification says."""
        matches = self._matches(path)
        return self.stanzas[max(matches)] if matches else None

    def usable_stanza_of(self, path, package=""):
        """The stanza that allows `path`, or None.

        Authors do not always keep the specification's order ("Files: *" is sometimes last), so the
        stanza with the longest matching glob has to allow the file too.
        """
        matches = self._matches(path)
        if not matches:
            return None
        last = self.stanzas[max(matches)]
        most_specific = self.stanzas[max(matches, key=lambda index: (matches[index], -index))]
        return last if all(is_allowed(s.licence, package) for s in (last, most_specific)) else None

    def _matches(self, path):
        """{index of a stanza: length of its longest glob that matches}."""
        plain, wild = self._globs()
        found = [match for match in wild if match[2].fullmatch(path)]
        folder = path
        while folder:
            found += plain.get(folder, ())
            folder = folder.rpartition("/")[0]
        lengths = {}
        for index, length, _ in found:
            lengths[index] = max(length, lengths.get(index, 0))
        return lengths

    def _globs(self):
        """Globs without wildcards by the path that they name, of which there may be tens of thousands; the others."""
        if "globs" not in self.__dict__:
            plain, wild = {}, []
            for index, stanza in enumerate(self.stanzas):
                for glob in stanza.globs:
                    if any(letter in glob for letter in "*?\\"):
                        wild.append((index, len(glob), re.compile(glob_to_regex(glob))))
                    else:
                        plain.setdefault(glob.removeprefix("./").rstrip("/"), []).append((index, len(glob), None))
            object.__setattr__(self, "globs", (plain, wild))
        return self.__dict__["globs"]


def parse_copyright(text):
    """The stanzas of a DEP-5 file, or None when `text` is in another format."""
    paragraphs = [_fields(p) for p in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n") + "\n")]
    header = paragraphs[0] if paragraphs else {}
    if not re.search(r"copyright-format|dep-?5", header.get("format", ""), re.IGNORECASE):
        return None
    stanzas = []
    texts = {}
    for fields in paragraphs:
        name, _, body = fields.get("license", "").partition("\n")
        name = " ".join(name.split())
        if body.strip():
            texts.setdefault(name, body)
        if "files" in fields:
            globs = tuple(glob.rstrip(",") for glob in fields["files"].split())
            holders = "; ".join(line.strip() for line in fields.get("copyright", "").splitlines() if line.strip())
            stanzas.append(Stanza(globs, name, holders))
    return CopyrightFile(tuple(stanzas), texts, " ".join(header.get("source", "").split()))


def _fields(paragraph):
    fields = {}
    name = None
    for line in paragraph.split("\n"):
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            if name:
                fields[name] += "\n" + line[1:]
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def glob_to_regex(glob):
    """`*` and `?` match any character, the slash included; a backslash escapes `*`, `?` and itself.

    A glob without wildcards that names a folder is taken to mean what is in it; the specification
    does not know this form, but its writers do.
    """
    glob = glob.removeprefix("./")
    parts = []
    position = 0
    while position < len(glob):
        letter = glob[position]
        if letter == "\\" and glob[position + 1 : position + 2] in ("*", "?", "\\"):
            position += 1
            parts.append(re.escape(glob[position]))
        elif letter == "*":
            parts.append(".*")
        elif letter == "?":
            parts.append(".")
        else:
            parts.append(re.escape(letter))
        position += 1
    return "(?:" + "".join(parts).rstrip("/") + "(?:/.*)?" + ")"


def is_allowed(expression, package=""):
    """True if the licence expression can be met with allowed licences alone.

    "A or B" needs one side, "A and B" both; "and" binds before "or", and a comma before either
    makes it bind last ("A or B, and C" is "(A or B) and C").
    """
    text = " ".join(expression.lower().replace("and/or", "or").split())
    if not text:
        return False
    clauses = re.split(r",\s*(?:(or)\s+|and\s+)?", text)
    verdict = _clause_allowed(clauses[0], package)
    for joint, clause in zip(clauses[1::2], clauses[2::2]):
        allowed = _clause_allowed(clause, package)
        verdict = (verdict or allowed) if joint == "or" else (verdict and allowed)
    return verdict


def allowed_names(expression, package=""):
    """The licences of the expression that are on the allow-list: those that the file is used under."""
    names = re.split(r",\s*(?:or\s+|and\s+)?|\s+(?:and/or|or|and)\s+", " ".join(expression.lower().split()))
    return [name for name in names if _name_allowed(name, package)]


def _clause_allowed(clause, package):
    return any(
        all(_name_allowed(name, package) for name in re.split(r"\s+and\s+", side))
        for side in re.split(r"\s+or\s+", clause)
    )


def _name_allowed(name, package):
    # An exception only adds permissions to the licence that it goes with.
    name = re.sub(r"[ -]with[ -].*exceptions?$", "", name.strip())
    return (package, name) in ALLOWED_IN_PACKAGE or name.partition("~")[0] in ALLOWED
