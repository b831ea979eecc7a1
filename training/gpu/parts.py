"""Large files as parts that a narrow way can carry, and the script that joins them."""

import hashlib
import math
import os
from pathlib import Path

PART_BYTES = 16 * 1024 * 1024 - 4096


def split(path, folder, part_bytes=PART_BYTES, first=0, count=None):
    """Writes parts `first` to `first + count` of `path` and join-NAME.sh into `folder`. Returns how many there are."""
    path, folder = Path(path), Path(folder)
    size = path.stat().st_size
    total = max(1, math.ceil(size / part_bytes))
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for index in range(total):
            data = file.read(part_bytes)
            digest.update(data)
            if first <= index < (total if count is None else first + count):
                (folder / f"{path.name}.{index:03d}").write_bytes(data)
    script = (
        "#!/bin/sh\n# Run where all parts lie.\nset -e\n"
        + "cat " + " ".join(f"{path.name}.{index:03d}" for index in range(total)) + f" > {path.name}\n"
        + f"echo '{digest.hexdigest()}  {path.name}' | sha256sum -c -\n"
    )  # fmt: skip
    join = folder / f"join-{path.name}.sh"
    join.write_text(script, encoding="utf-8")
    os.chmod(join, 0o755)
    return total
