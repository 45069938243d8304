import pytest

from src.data.datasets.classes_yaml import read_classes_yaml
from src.data.datasets.palette import distinct_palette
from src.structures import IGNORE_INDEX


def read(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text, encoding="utf-8")
    return read_classes_yaml(tmp_path / "classes.yaml")


def test_names_alone_are_enough(tmp_path):
    page = read(tmp_path, "classes: [road, Bürgersteig]")
    assert (page.classes, page.palette, page.fps) == (("road", "Bürgersteig"), distinct_palette(2), 25.0)
    assert page.values == {0: 0, 1: 1, 255: IGNORE_INDEX}


def test_values_colors_and_rate_can_be_said(tmp_path):
    page = read(
        tmp_path,
        "fps: 12.5\nignore: [0, 300]\nclasses:\n"
        "  - {name: car, value: 7, color: [0, 0, 142]}\n  - {name: plant, value: [8, 1000]}\n  - {name: 'no', value: 2}\n",
    )
    assert page.classes == ("car", "plant", "no")
    assert page.palette == ((0, 0, 142), *distinct_palette(3)[1:])
    assert page.values == {7: 0, 8: 1, 1000: 1, 2: 2, 0: IGNORE_INDEX, 300: IGNORE_INDEX}
    assert page.fps == 12.5


def test_nothing_need_be_ignored(tmp_path):
    assert read(tmp_path, "ignore: []\nclasses: [a]").values == {0: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", "is not YAML"),
        ("- a", "holds list; expected the key 'classes'"),
        ("names: [a]", r"holds \['names'\]"),
        ("classes: [a]\ncolor: red", "expected the key 'classes', and besides it only 'fps' and 'ignore'"),
        ("classes: a", "expected a list of 1..254 names"),
        ("classes: []", "expected a list of 1..254 names"),
        ("classes: [{value: 1}]", r"class 0 is \{'value': 1\}; expected a name"),
        ("classes: [a, no]", "class 1 is False; expected a name"),
        ("classes: [{name: a, color: [1, 2, 3]}]", "class 0 is .*expected a name, or a mapping with name, value and color"),
        ("classes: [a, a]", "class 'a' is there more than once"),
        ("classes: [a, {name: b, value: 0}]", "mask value 0 of 'b' is already taken"),
        ("classes: [a]\nignore: [0]", "mask value 0 of 'ignore' is already taken"),
        ("classes: [{name: a, value: -1}]", "mask value -1 of 'a'; expected a whole number"),
        ("classes: [{name: a, value: true}]", "mask value True of 'a'"),
        ("classes: [{name: a, color: [1, 2]}]", r"color \[1, 2\] of 'a'; expected three whole numbers"),
        ("classes: [{name: a, color: red}]", "color 'red' of 'a'"),
        ("classes: [a]\nfps: 0", "fps is 0; expected a number above 0"),
        ("classes: [a]\nfps: fast", "fps is 'fast'"),
        ("classes: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"(?s)classes\.yaml.*{message}"):
        read(tmp_path, text)


def test_a_missing_page_says_what_it_should_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"classes\.yaml does not exist; expected the class names"):
        read_classes_yaml(tmp_path / "classes.yaml")
