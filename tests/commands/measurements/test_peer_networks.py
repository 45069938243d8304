"""Laws of the compared networks: published parameters, and frames that are labelled as the rows state."""

import pytest
import torch
from torch import Tensor

from src.commands.measurements.peer_networks import NETWORKS, Setting
from src.measure.comparisons.peers import Peer
from src.options.groups import Peers
from tests.inference.tiny import frames

SIZE = (64, 96)


def build(name: str) -> list[Peer]:
    torch.manual_seed(0)
    return NETWORKS[name](Setting([image[None] for image in frames(3, SIZE)], {}, None))


def label_map(result: object) -> Tensor:
    assert isinstance(result, tuple) and isinstance(result[0], Tensor)
    return result[0]


def test_the_option_names_every_network() -> None:
    Peers(networks=list(NETWORKS), repeats=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="networks"):
        Peers(networks=["mrcfa_b9"], repeats=1)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "name, params_m",
    [
        # As counted from the published code, without the classifiers that only training reads.
        ("mrcfa_b1", 16.226055),
        ("videomt_small", None),
    ],
)
def test_a_network_that_segments_every_frame_has_one_row(name: str, params_m: float | None) -> None:
    (peer,) = build(name)
    assert params_m is None or peer.params_m == params_m
    gflops, nonkey = peer.count()
    assert gflops > 0 and nonkey is None and peer.calls == (peer.key,)
    found = label_map(peer.key())
    assert found.shape == (1, *SIZE) and found.dtype == torch.int64
    assert torch.equal(found, label_map(peer.key()))


def test_a_dense_segmentor_is_measured_alone_and_carried() -> None:
    alone, online, offline = build("segformer_b1")
    assert alone.key is online.key is offline.key and alone.calls == (alone.key,)
    # DIS has no parameters.
    assert alone.params_m == online.params_m == offline.params_m
    key, nonkey = online.count()
    assert alone.count() == (key, None) and nonkey is not None and nonkey < key and offline.count()[0] == key
    assert label_map(alone.key()).shape == (1, *SIZE) and online.nonkey is not None and offline.nonkey is not None
    assert label_map(online.nonkey()).shape == (1, *SIZE)
    offline.nonkey()
