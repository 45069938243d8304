"""Laws of image change: even motion counts frames, and cuts are detected where they are."""

from dataclasses import replace

import pytest
import torch

from src.inference.scheduling.change import ChangeSettings, ChangeState
from tests.inference.schedules import cut_clip, drift, textured

SETTINGS = ChangeSettings(weight=0.3, cut_similarity=0.65)


def states_of(images: list[torch.Tensor], weight: float = 0.3) -> list[ChangeState]:
    found: list[ChangeState] = []
    for image in images:
        found.append(replace(SETTINGS, weight=weight).update_change(image[None], found[-1] if found else None))
    return found


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_in_even_motion_change_counts_frames(weight: float) -> None:
    changes = [one.change for one in states_of(drift(12), weight)]
    assert changes == pytest.approx(list(range(12)), rel=0.1 if weight else 1e-6)


def test_change_grows_faster_with_more_motion_and_slower_without() -> None:
    even = drift(30)
    slow_then_fast = [*even[:10], *even[10::2]]
    changes = [one.change for one in states_of(slow_then_fast, weight=1.0)]
    assert changes[-1] - changes[-2] > 1.3 * (changes[9] - changes[8])
    still = [*even[:10], *[even[9]] * 5]
    changes = [one.change for one in states_of(still, weight=0.3)]
    assert changes[14] - changes[9] == pytest.approx(5 * 0.7, abs=1e-6)


def test_cuts_are_detected_where_they_are_and_nowhere_else() -> None:
    found = states_of(cut_clip((5, 1, 6, 7)))
    assert [number for number, one in enumerate(found) if one.cut] == [*range(5, 19)]
    # A key frame clears the cut; a cut in the second frame is detected, too.
    after = SETTINGS.update_change(drift(2, seed=3)[1][None], found[-1].reset())
    assert not found[-1].reset().cut and found[-1].reset().change == 0 and after.cut
    assert [one.cut for one in states_of(cut_clip((1, 2)))] == [False, True, True]


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_cut_with_one_mixed_frame_is_one_cut(share: float) -> None:
    """Shots joined by a frame that shows both: the cut is found there, or at the first frame of the new shot."""
    images = [textured(64, 120, seed)[..., 2 * n : 2 * n + 96] for seed in (3, 4) for n in range(8)]
    mixed = ((1 - share) * images[7] + share * images[8]).byte()
    found = states_of([*images[:8], mixed, *images[8:]])
    (first, *_) = (number for number, one in enumerate(found) if one.cut)
    assert first in (8, 9)
    later, cuts = found[first].reset(), 0
    for image in images[first - 1 :][1:]:
        later = SETTINGS.update_change(image[None], later.reset())
        cuts += later.cut
    assert cuts == 0


def test_noise_in_the_dark_and_brightness_are_no_cuts() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randint(0, 9, (3, 64, 96), generator=generator, dtype=torch.uint8) for _ in range(20)]
    # Noise is a cut until the stream has a typical difference.
    second = SETTINGS.update_change(noise[1][None], states_of(noise[:1])[0])
    assert second.cut
    third = SETTINGS.update_change(drift(1)[0][None], second.reset())
    assert third.cut
    settled = SETTINGS.update_change(noise[2][None], states_of(drift(3))[-1]).reset()
    for image in noise[3:]:
        settled = SETTINGS.update_change(image[None], settled)
    assert not settled.cut
    flash = drift(6)
    flash[3] = (flash[3].float() * 0.5).byte()
    assert not any(one.cut for one in states_of(flash))


def test_a_batch_of_streams_is_refused() -> None:
    with pytest.raises(ValueError, match="step_streams"):
        SETTINGS.update_change(torch.zeros(2, 3, 64, 64), None)


def test_a_new_size_resets_the_change() -> None:
    first = states_of(drift(4))[-1]
    assert SETTINGS.update_change(torch.zeros(1, 3, 64, 200), first).change == 0
