"""The documentation site builds without a broken link, and the pages name files that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FIGURES = sorted((ROOT / "docs" / "images" / "architecture").glob("*.svg"))
NAMED = re.compile(r"(?<![\w/.<])((?:src|conf|tests|scripts|examples|notebooks|docs)/[\w./*<>{},-]*)")


def build(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    done.stdout = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return done


@pytest.fixture
def site(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def test_the_site_builds_and_a_broken_link_stops_it(site: Path) -> None:
    done = build(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site / "outputs" / "site" / "architecture.html").is_file()
    with (site / "docs" / "index.md").open("a") as page:
        page.write("\n[gone](no_such_page.md)\n")
    assert build(site).returncode != 0


@pytest.mark.parametrize("path", [*PAGES, *FIGURES], ids=lambda path: path.name)
def test_the_files_that_a_page_names_exist(path: Path) -> None:
    named = {found.rstrip("/.,") for found in NAMED.findall(path.read_text(encoding="utf-8"))}
    patterns = ("<", "{", "*")
    missing = [name for name in sorted(named) if not any(c in name for c in patterns) and not (ROOT / name).exists()]
    assert not missing, f"{path.name} names {missing}"


@pytest.mark.parametrize("name", ["reliability.md", "security.md"])
def test_the_tests_that_a_table_names_exist(name: str) -> None:
    """A name without a file is in the file named before it, or in tests/test_reliability.py."""
    named = 0
    for row in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines():
        file = "tests/test_reliability.py"
        for path, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::)?(test_\w+)?`", row):
            file = path or file
            if test:
                named += 1
                assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{name} names {file}::{test}"
    assert named >= 18


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_of_a_page_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"https?://|#|mailto:", target):
            assert (path.parent / target.split("#")[0]).exists(), f"{path.name} links to {target}"
