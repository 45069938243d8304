from contextlib import closing
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from src.inference.video.formats.cvat import CvatXml
from src.inference.video.formats.exported import ExportedFrame
from tests.inference.tiny import FakeClips


def test_cvat_holds_names_with_characters_that_xml_has_not(tmp_path: Path) -> None:
    with closing(CvatXml(tmp_path / "cvat.xml", ("road\x00", "car"), FakeClips.palette[:2])) as file:
        file.write(ExportedFrame(0, "a\x01\udcff\n😀", Fraction(0), Fraction(1, 25), np.zeros((2, 3), np.uint8)))
    root = ElementTree.parse(tmp_path / "cvat.xml").getroot()
    assert [image.attrib["name"] for image in root.iterfind("image")] == ["a\ufffd\ufffd\n😀.png"]
    assert [mask.attrib["label"] for mask in root.iter("mask")] == ["road\ufffd"]
    assert [name.text for name in root.iterfind("meta/task/labels/label/name")] == ["road\ufffd", "car"]
