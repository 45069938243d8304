from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub_server import FakeHubServer, used_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHubServer]:
    with used_hub(tmp_path, monkeypatch) as server:
        yield server
