"""docs/datasets.md is up to date: commands are valid, the example of classes.yaml is read, and named files exist."""

import inspect
import re
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object

from scripts import extract_cityscapes, make_shards, prepare_vspw
from src.command_line.arguments import quote_paths
from src.data.datasets.classes_yaml import read_classes_yaml
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SCRIPTS = {f"scripts/{one.__name__.split('.')[1]}.py": one.main for one in (extract_cityscapes, make_shards, prepare_vspw)}


@pytest.mark.parametrize("line", LINES)
def test_commands_are_valid(line, tmp_path, monkeypatch, capsys):
    python, *words = shlex.split(line)
    assert python == "python"
    if words[0] in SCRIPTS:
        # Only the named files are missing: argparse would end with SystemExit.
        monkeypatch.chdir(tmp_path)
        assert SCRIPTS[words[0]](words[1:]) == 2
        assert "error: " in capsys.readouterr().out
        return
    name, overrides = ("check_data", words[1:]) if words[0] == "scripts/check_data.py" else (words[1][4:], words[2:])
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(name, quote_paths([word for word in overrides if word != "-m"]))
    for split in (cfg.data.train, cfg.data.val, cfg.data.test) if "data" in cfg else ():
        inspect.signature(get_object(split["_target_"])).bind(**{key: split[key] for key in split if key != "_target_"})


def test_the_example_of_classes_yaml_is_read(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    values = []
    for example in examples:
        # Later examples are further keys.
        start = "" if "classes:" in example else "classes: [{name: road, color: [1, 2, 3]}]\n"
        (tmp_path / "classes.yaml").write_text(start + example)
        values.append(read_classes_yaml(tmp_path / "classes.yaml").values)
    assert values[0] == {0: 0, 7: 1, 8: 2, 9: 2, 255: 255}


def test_named_files_and_datasets_exist():
    files = re.findall(r"`((?:src|conf|scripts)/[\w./]+)[`,]", PAGE)
    assert len(files) > 10 and not [name for name in files if not (ROOT / name).exists()]
    listed = set(re.findall(r"^\| `(\w+)` \| `src/data", PAGE, re.MULTILINE))
    assert listed == {path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")}
