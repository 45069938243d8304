"""Write constraints.txt, the version of every distribution that the requirements need; `make constraints` runs it."""

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Version of every distribution that requirements*.txt need, directly or not: pip install -c constraints.txt -r requirements.txt
# A line applies only where its distribution is needed: nvidia-*, cuda-* and triton belong to the CUDA build of torch for Linux.
# After a change of the requirements: make constraints
"""


def canonical(name: str) -> str:
    """Return the name of a distribution as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def listed() -> Iterator[Requirement]:
    """Yield the requirements of all files."""
    for path in sorted(ROOT.glob("requirements*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = line.split("#")[0].strip()
            if text and not text.startswith("-"):
                yield Requirement(text)


def needed() -> dict[str, str]:
    """Return the installed version, without local build tag, of every distribution that the requirements need."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(listed())
    while waiting:
        wanted = waiting.pop()
        key = canonical(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        installed = distribution(wanted.name)
        found[key[0]] = installed.version.split("+")[0]
        for text in installed.requires or []:
            below = Requirement(text)
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(below)
    return found


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(needed().items())]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"{len(lines)} versions in constraints.txt")
