"""Choice of an experiment of ``conf/experiment``, which ``src.train`` requires."""

import re
import sys
from collections.abc import Sequence

from src.command_line.composition import CONF
from src.command_line.errors import report


def require_experiment(overrides: Sequence[str]) -> None:
    """Exit with code 2 and a list of all experiments if the command line chooses none.

    The plain values of ``conf/train.yaml``, a network with random weights on generated scenes, are ``experiment=default``.
    """
    if any(one.lstrip("+").partition("=")[0] == "experiment" for one in overrides):
        return
    known = descriptions()
    width = max(map(len, known))
    rows = [f"  {name:{width}}  {text}" for name, text in known.items()]
    report("\n".join(["experiment: not given; expected experiment=<name>, one of:", *rows]))
    sys.exit(2)


def descriptions() -> dict[str, str]:
    """Return the description of every experiment by its name: the first clause of its file's first comment."""
    found = {}
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        comments = re.findall(r"^# (?!@package)(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        found[path.stem] = re.split(r"[:;.](?:\s|$)", comments[0], maxsplit=1)[0] if comments else ""
    return found
