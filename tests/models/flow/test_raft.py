from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from src.models.flow.raft import RAFTFlow

NO_QUERIES = torch.zeros(1, 1, 1)


def pair(height: int, width: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    key = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    return key, key.roll(2, dims=-1)


@torch.no_grad()
def test_the_flow_is_torchvisions_from_the_nonkey_to_the_key_frame() -> None:
    flow = RAFTFlow(num_updates=2).eval()
    key, nonkey = pair(128, 160)
    found = flow(key, nonkey, NO_QUERIES)
    first, second = (image.float() / 255 * 2 - 1 for image in (nonkey, key))
    expected = flow.network(first, second, num_flow_updates=2)[-1]
    torch.testing.assert_close(found.segment_flow[:, 0], expected, atol=1e-4, rtol=1e-4)
    assert found.padded_size == (128, 160) and torch.equal(found.pixel_flows[0], found.segment_flow[:, 0])
    swapped = flow(nonkey, key, NO_QUERIES).segment_flow
    assert not torch.allclose(found.segment_flow, swapped, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("size, padded", [((40, 56), (64, 64)), ((130, 200), (160, 224))])
def test_any_size_is_padded_by_repeating_the_border(size: tuple[int, int], padded: tuple[int, int]) -> None:
    """RAFT requires multiples of 8 of at least 128 pixels."""
    flow = RAFTFlow(num_updates=1).eval()
    key, nonkey = pair(*size)
    found = flow(key, nonkey, NO_QUERIES)
    assert found.padded_size == padded and found.segment_flow.shape == (1, 1, 2, *padded)
    border = (0, max(padded[1], 128) - size[1], 0, max(padded[0], 128) - size[0])
    whole = [torch.nn.functional.pad(image.float(), border, mode="replicate") for image in (key, nonkey)]
    again = flow(*whole, NO_QUERIES).segment_flow[..., : padded[0], : padded[1]]
    torch.testing.assert_close(found.segment_flow, again, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_queries_and_earlier_pairs_change_nothing() -> None:
    flow = RAFTFlow(num_updates=1).eval()
    key, nonkey = pair(128, 128, batch=2)
    found = [flow(key, nonkey, queries).segment_flow for queries in (torch.zeros(2, 5, 8), torch.randn(2, 7, 4))]
    assert torch.equal(*found) and found[0].shape[1] == 1
    assert flow.network.corr_block.corr_pyramid == [], "torchvision keeps the correlations of the last pair here"


def test_every_parameter_learns() -> None:
    flow = RAFTFlow(num_updates=2)
    flow(*pair(128, 128), NO_QUERIES).pixel_flows[-1].square().mean().backward()
    silent = [name for name, parameter in flow.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A bias before an instance norm is taken out again.
    assert not [name for name in silent if not name.endswith("bias")], silent


@pytest.mark.parametrize("size, millions", [("small", 0.990), ("large", 5.258)])
def test_the_sizes_are_the_published_ones(size: Any, millions: float) -> None:
    with torch.device("meta"):
        flow = RAFTFlow(size, num_updates=3, size_divisor=64)
    assert sum(parameter.numel() for parameter in flow.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)
    with torch.device("meta"):
        again = RAFTFlow(**flow.config())
    assert again.config() == flow.config() == {"size": size, "num_updates": 3, "size_divisor": 64, "fusion_dim": None}


def test_weights_come_from_torchvisions_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Raft_Small_Weights.C_T_V2.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    state = raft_small().state_dict()
    torch.save(state, file)
    loaded = RAFTFlow("small", weights="C_T_V2").network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    # Strictly: a file of another layout is none of ours.
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(RuntimeError, match="Missing key"):
        RAFTFlow("small", weights="C_T_V2")


def test_a_failed_download_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(RuntimeError, match=r"raft_small.*no network.*checkpoints, or set weights=null"):
        RAFTFlow("small", weights="C_T_V2")


@pytest.mark.usefixtures("unchecked_shapes")
def test_unknown_settings_and_unequal_images_are_refused() -> None:
    with pytest.raises(ValueError, match="RAFT size is 'tiny'; expected one of small, large"):
        RAFTFlow("tiny")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights of raft_small are 'C_T_SKHT_V2'; expected one of torchvision's C_T_V1, C_T_V2"):
        RAFTFlow("small", weights="C_T_SKHT_V2")
    with pytest.raises(ValueError, match="multiple of 8"):
        RAFTFlow(size_divisor=12)
    with pytest.raises(ValueError, match="expected two equal"):
        RAFTFlow()(torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 128, 136), NO_QUERIES)


def test_weights_with_nan_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    state = RAFTFlow("small").network.state_dict()
    name = next(iter(state))
    monkeypatch.setattr("src.models.flow.raft._download", lambda weights: {**state, name: state[name] * torch.nan})
    with pytest.raises(ValueError, match=f"RAFT weights C_T_V2: tensor {name} has .* NaN"):
        RAFTFlow("small", weights="C_T_V2")
