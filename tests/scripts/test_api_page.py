import subprocess
import sys

import src
from scripts import api_page


def test_the_page_is_that_of_the_docstrings() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run `make api`"


def test_every_public_name_has_an_entry_with_parameters() -> None:
    page = api_page.page()
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert sorted(headings) == sorted(src.__all__) and len(headings) >= 12
    assert page.count("*Parameters*") > len(headings) and ":class:" not in page and "``" not in page.replace("```", "")


def test_public_names_are_imported_on_first_use_only() -> None:
    program = (
        "import sys, src; assert 'torch' not in sys.modules; from src import MeanIoU; assert 'torch' in sys.modules; src.nothing"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=api_page.ROOT, capture_output=True, text=True, timeout=120)
    assert "AttributeError: module 'src' has no attribute 'nothing'; public are " in done.stderr


def test_all_public_names_import() -> None:
    assert all(callable(getattr(src, name)) for name in src.__all__) and set(src.__all__) <= set(dir(src))
