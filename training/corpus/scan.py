"""Reads one unpacked package and keeps what licence and filters allow, in two files of its own.

`NAME.text` holds the texts end to end, `NAME.json` a line on the package and one for each text. With
them the unpacked tree can go: what is chosen later is chosen from these.
"""

import collections
import hashlib
import json
import os
from dataclasses import dataclass

import debian_copyright
import filters

FILES_PER_FOLDER_MAX = 120  # a folder with thousands of files holds variations of one
BYTES_PER_LANGUAGE_MAX = 80_000_000
FORMAT = 1  # a scan of another number is made again


@dataclass(frozen=True)
class ScannedFile:
    package: str
    path: str
    language: str
    offset: int
    bytes: int
    licence: str
    holders: str
    content_hash: str


class ScannedPackage:
    """The two files of a package, read back. `files` is in the order in which they should be taken."""

    def __init__(self, folder, name):
        stem = _stem(folder, name)
        with open(f"{stem}.json", encoding="utf-8") as lines:
            self.about = json.loads(next(lines))
            self.files = [ScannedFile(name, *json.loads(line)) for line in lines]
        self.name = name
        self._text = open(f"{stem}.text", "rb")  # pylint: disable=consider-using-with

    def close(self):
        """After this there is no text_of()."""
        self._text.close()

    def text_of(self, file):
        self._text.seek(file.offset)
        return self._text.read(file.bytes).decode("utf-8")


def is_scanned(folder, name):
    try:
        with open(f"{_stem(folder, name)}.json", encoding="utf-8") as lines:
            return json.loads(next(lines)).get("format") == FORMAT
    except (OSError, ValueError, StopIteration):
        return False


def scan(package, is_heldout, folder):
    """Writes the two files for `package`, the second one whole or not at all."""
    stem = _stem(folder, package.name)
    drops = collections.Counter()
    taken = collections.Counter()
    lines = []
    offset = 0
    copyright_file = package.copyright()
    with open(f"{stem}.text", "wb") as texts:
        for path in _paths_in_order(package, is_heldout):
            text, record = _read(package, copyright_file, path, drops)
            if text is None or taken[record[0]] >= BYTES_PER_LANGUAGE_MAX:
                continue
            data = text.encode("utf-8")
            texts.write(data)
            language, licence, holders, content_hash = record
            lines.append((path, language, offset, len(data), licence, holders, content_hash))
            offset += len(data)
            taken[language] += len(data)
    about = {
        "format": FORMAT,
        "version": package.version,
        "source_sha256": package.source_sha256,
        "source": copyright_file.source,
        "dropped": drops,
        "licence_texts": _used_texts(copyright_file, {line[4] for line in lines}, package.name),
    }
    with open(f"{stem}.part", "w", encoding="utf-8") as out:
        for line in (about, *lines):
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(f"{stem}.part", f"{stem}.json")


def _stem(folder, name):
    return os.path.join(folder, name.replace("/", "_"))


def _read(package, copyright_file, path, drops):
    """(text, (language, licence, holders, hash)), or (None, None) with the reason counted."""
    text, reason = filters.read_text((package.folder / path).read_bytes())
    stanza = copyright_file.usable_stanza_of(path, package.name) if reason is None else None
    if reason is None and stanza is None:
        reason = "licence"
    if reason is None:
        language = filters.language_of(path, text)
        text, reason = filters.worthy_text(text)
    if reason is not None:
        drops[reason] += 1
        return None, None
    content_hash = hashlib.sha256("".join(text.split()).encode("utf-8")).hexdigest()
    return text, (language, stanza.licence, stanza.holders, content_hash)


def _used_texts(copyright_file, licences, package_name):
    used = {name for licence in licences for name in debian_copyright.allowed_names(licence, package_name)}
    return {name: text for name, text in copyright_file.licence_texts.items() if name.lower() in used}


def _paths_in_order(package, is_heldout):
    """The candidate paths, folder by folder in a fixed pseudo-random order of folders."""
    folders = collections.defaultdict(list)
    for parent, subfolders, names in os.walk(package.folder):
        subfolders.sort()
        folder = os.path.relpath(parent, package.folder)
        for name in sorted(names):
            path = name if folder == "." else f"{folder}/{name}"
            if not filters.may_be_useful(path) or os.path.islink(os.path.join(parent, name)):
                continue
            if package.only and not path.startswith(package.only):
                continue
            if not (is_heldout and filters.path_is_vendored(path)):
                folders[folder].append(path)
    for folder in sorted(folders, key=lambda f: _order(package.name, f)):
        paths = sorted(folders[folder], key=lambda p: _order(package.name, p))
        yield from paths[:FILES_PER_FOLDER_MAX]


def _order(*parts):
    return hashlib.sha256("\0".join(parts).encode("utf-8")).digest()
