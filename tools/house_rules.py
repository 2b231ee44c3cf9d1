"""The rules of the house that no linter knows: no machine's paths, no stray skips, no dead links, nothing shadowed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # run as a file, Python knows this folder only

from tools.links import dead_links  # noqa: E402 - found by the line above

MACHINE_PATHS = re.compile(r"(?<![\w.$~-])/(?:home|Users|root|work)/\w")
SKIPS = re.compile(r"pytest\.(?:skip|importorskip|mark\.(?:skip|skipif|xfail))|unittest\.skip")
THIS = Path(__file__).resolve()


def tracked() -> list[Path]:
    """The files git tracks, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def complaints() -> list[str]:
    """One line for each rule that is broken, naming file and line."""
    found = []
    if (ROOT / "operator" / "__init__.py").exists():
        found.append("operator/__init__.py would shadow the standard library's operator module")
    for path in tracked():
        if path.suffix not in {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".html"} or path == THIS:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"{path.relative_to(ROOT)}:{number}"
            if MACHINE_PATHS.search(line):
                found.append(f"{where}: a path of one machine")
            if SKIPS.search(line):
                found.append(f"{where}: a test that can be skipped unseen; install what it needs, or fail by name")
        if path.suffix == ".md":
            here = path.relative_to(ROOT)
            found += [f"{here}:{number}: a link to nowhere: {target}" for number, target in dead_links(path)]
    return found


if __name__ == "__main__":
    lines = complaints()
    print("\n".join(lines), end="\n" if lines else "")
    sys.exit(1 if lines else 0)
