"""Law: what the file defines is read in full, and every error names file, line and key."""

import pytest

from src.data.datasets.classes_yaml import count_classes, read_classes_yaml
from src.structures import IGNORE_INDEX


def read(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text, encoding="utf-8")
    return read_classes_yaml(tmp_path / "classes.yaml")


def test_names_are_enough(tmp_path):
    defined = read(tmp_path, "classes: [road, Bürgersteig]")
    assert (defined.classes, defined.colors, defined.fps) == (("road", "Bürgersteig"), (None, None), 25.0)
    assert defined.values == {0: 0, 1: 1, 255: IGNORE_INDEX}
    assert count_classes(tmp_path) == 2


def test_values_colors_and_rate_can_be_set(tmp_path):
    defined = read(
        tmp_path,
        "fps: 12.5\nignore: [0, 300]\nclasses:\n"
        "  - {name: car, value: 7, color: [0, 0, 142]}\n  - {name: plant, value: [8, 1000]}\n  - {name: 'no', value: 2}\n",
    )
    assert defined.classes == ("car", "plant", "no")
    assert defined.colors == ((0, 0, 142), None, None)
    assert defined.values == {7: 0, 8: 1, 1000: 1, 2: 2, 0: IGNORE_INDEX, 300: IGNORE_INDEX}
    assert defined.fps == 12.5


def test_masks_can_be_colors_and_have_a_suffix(tmp_path):
    defined = read(
        tmp_path,
        "mask_colors: true\nmask_suffix: _mask\nignore_colors: [[0, 0, 0]]\nclasses:\n"
        "  - {name: car, color: [0, 0, 142]}\n  - {name: road, color: [128, 64, 128]}\n",
    )
    assert (defined.mask_colors, defined.mask_suffix) == (True, "_mask")
    assert defined.values == {142: 0, 0x804080: 1, 0: IGNORE_INDEX}


def test_nothing_need_be_ignored(tmp_path):
    assert read(tmp_path, "ignore: []\nclasses: [a]").values == {0: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask_colors: true\nclasses: [a]", r", line 2: classes\[0\] has no color, but mask_colors is true"),
        (
            "mask_colors: true\nclasses:\n- {name: a, value: 1, color: [1, 1, 1]}",
            r", line 3: classes\[0\] has a mask value, but mask_colors is true",
        ),
        (
            "mask_colors: true\nclasses:\n- {name: a, color: [1, 1, 1]}\n- {name: b, color: [1, 1, 1]}",
            r", line 4: classes\[1\]\.color contains a color, which is used before",
        ),
        ("mask_colors: true\nignore: [0]\nclasses:\n- {name: a, color: [1, 1, 1]}", ", line 2: ignore lists mask values"),
        ("ignore_colors: [[0, 0, 0]]\nclasses: [a]", ", line 1: ignore_colors lists colors, but mask_colors is false"),
        ("mask_colors: no thanks\nclasses: [a]", ", line 1: mask_colors is 'no thanks'"),
        ("mask_suffix: a/b\nclasses: [a]", ", line 1: mask_suffix is 'a/b'"),
        ("mask_suffix: ''\nclasses: [a]", ", line 1: mask_suffix is ''"),
        ("classes: [", " is not YAML"),
        ("classes: !!python/object/apply:os.system ['true']", " is not YAML"),
        ("", ", line 1: the content is None: .*dictionary"),
        ("- a", r", line 1: the content is \['a'\]: .*dictionary"),
        ("fps: 2\nnames: [a]", ", line 1: classes is missing"),
        ("classes: [a]\ncolor: red", ", line 2: color is 'red': Extra inputs"),
        ("classes: a", ", line 1: classes is 'a': .*list"),
        ("\nclasses: []", r", line 2: classes is \[\]: List should have at least 1 item"),
        ("classes:\n- a\n- {value: 1}", r", line 3: classes\[1\]\.name is missing"),
        ("classes:\n- a\n- no", r", line 3: classes\[1\] is False: .*expected a name, or a mapping with name, value and color"),
        ("classes:\n- {name: a, hue: [1, 2, 3]}", r", line 2: classes\[0\]\.hue is \[1, 2, 3\]: Extra inputs"),
        ("classes:\n- a\n- a", r", line 3: classes\[1\] is 'a', which is listed before; expected different names"),
        ("classes:\n- a\n- {name: b, value: 0}", r", line 3: classes\[1\]\.value contains mask value 0, which is used before"),
        ("classes: [a]\nignore: [0]", ", line 2: ignore contains mask value 0, which is used before"),
        ("classes:\n- {name: a, value: -1}", r", line 2: classes\[0\]\.value\[0\] is -1: .*greater than or equal to 0"),
        ("classes:\n- {name: a, value: 65536}", r", line 2: classes\[0\]\.value\[0\] is 65536: .*65535"),
        ("classes:\n- {name: a, value: true}", r", line 2: classes\[0\]\.value\[0\] is True: .*valid integer"),
        ("classes:\n- {name: a, color: [1, 2]}", r", line 2: classes\[0\]\.color is \[1, 2\]: .*at least 3 items"),
        ("classes:\n- {name: a, color: [1, 2, 256]}", r", line 2: classes\[0\]\.color\[2\] is 256: .*255"),
        (
            "classes:\n- {name: a, color: [1, 1, 1]}\n- b\n- {name: c, color: [1, 1, 1]}",
            r", line 4: classes\[2\]\.color is \[1, 1, 1\], which a class before has; expected different colors",
        ),
        ("classes:\n- {name: a, color: red}", r", line 2: classes\[0\]\.color is 'red': .*valid list"),
        ("classes: &loop\n- *loop", r", line 1: classes\[0\] is \[\[\.\.\.\]\]: .*expected a name"),
        ("classes: [a]\nfps: 0", ", line 2: fps is 0: .*greater than 0"),
        ("classes: [a]\nfps: true", ", line 2: fps is True: .*valid number"),
        ("classes: [a]\nfps: .inf", ", line 2: fps is inf: .*finite"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"classes\.yaml{message}"):
        read(tmp_path, text)


def test_more_classes_than_a_label_can_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)classes is \[.*at most 254 items"):
        read(tmp_path, f"classes: [{', '.join(f'c{k}' for k in range(255))}]")


def test_a_missing_file_is_an_error_with_an_example(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"classes\.yaml does not exist; expected the class names"):
        read_classes_yaml(tmp_path / "classes.yaml")
