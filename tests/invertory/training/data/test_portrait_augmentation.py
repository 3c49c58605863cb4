import pytest
import torch

from invertory.portraits.attributes import ATTRIBUTES
from invertory.training.data.portrait_augmentation import MIRRORED, Augmentation

OFF = {"mirrored": 0, "moved": 0, "blurred": 0, "noisy": 0, "colour": 0}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def dots(num=6, size_px=64):
    """Images with bright squares at three positions, and these positions (x, y) in px."""
    x = -torch.ones(num, 3, size_px, size_px)
    places = torch.tensor([[20.0, 30.0], [44.0, 26.0], [33.0, 45.0]]).expand(num, -1, -1)
    for channel, (across, down) in enumerate(places[0].int().tolist()):
        x[:, channel, down - 1 : down + 2, across - 1 : across + 2] = 1.0
    return x, places.clone()


def assert_moved_to(found, expected):
    """Equal but for the rounding of places: two steps of float32 at the picture's side, in px,
    times the largest step between pixels (2), and as much again.
    """
    limit = 8 * torch.finfo(torch.float32).eps * expected.shape[-1]
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


def test_nothing_changes_where_all_is_off():
    x, _ = dots()
    changes = Augmentation(**OFF).draw(6, rng())
    assert torch.allclose(changes.images(x, rng()), x, atol=1e-5)


def test_a_mirrored_image_is_the_mirrored_image():
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    changes = Augmentation(**OFF | {"mirrored": 1}).draw(2, rng())
    assert torch.allclose(changes.images(x, rng()), x.flip(3), atol=1e-5)
    labels = torch.randint(0, 8, (2, 16, 16))
    assert torch.equal(changes.segmentations(labels), labels.flip(2))


def test_landmarks_and_segments_go_where_the_pixels_go():
    x, places = dots()
    landmarks = torch.zeros(6, 68, 2)
    landmarks[:, 27:30] = places  # on the nose's ridge: a mirror leaves their indices
    changes = Augmentation(**OFF | {"mirrored": 0.5, "moved": 1}).draw(6, rng())
    assert 0 < int(changes.is_mirrored.sum()) < 6
    moved = changes.landmarks(landmarks, 64)[:, 27:30]
    seen = changes.images(x, rng())
    segments = changes.segmentations((x > 0).long().sum(1))
    grid = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 2, indexing="xy"), -1)
    for channel in range(3):
        weight = (seen[:, channel] + 1)[..., None]
        centre = (weight * grid).sum((1, 2)) / weight.sum((1, 2))
        assert torch.allclose(centre, moved[:, channel], atol=0.15)
        at = moved[:, channel].round().long()
        assert torch.equal(segments[torch.arange(6), at[:, 1], at[:, 0]], torch.ones(6).long())


def test_mirroring_swaps_left_and_right_landmarks_and_twice_is_the_identity():
    assert sorted(MIRRORED) == list(range(68))
    assert all(MIRRORED[MIRRORED[i]] == i for i in range(68))
    assert (MIRRORED[36], MIRRORED[48], MIRRORED[31], MIRRORED[17], MIRRORED[0]) == (
        45, 54, 35, 26, 16,
    )  # fmt: skip


def test_a_mirror_negates_yaw_and_light_and_nothing_else():
    changes = Augmentation(**OFF | {"mirrored": 1}).draw(1, rng())
    values = torch.arange(1.0, len(ATTRIBUTES) + 1)[None]
    changed = changes.attributes(values, ATTRIBUTES)
    negated = {name for name, v in zip(ATTRIBUTES, changed[0].tolist(), strict=True) if v < 0}
    assert negated == {"yaw_deg", "light_deg"}
    assert torch.equal(changed.abs(), values)


def test_draws_are_a_function_of_the_seed_and_images_stay_in_range():
    x, _ = dots()
    first, again, other = (
        Augmentation().draw(6, rng(seed)).images(x, rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1


@pytest.mark.parametrize("what", ["blurred", "noisy"])
def test_shares_are_kept(what):
    changes = Augmentation(**OFF | {what: 0.3}).draw(4000, rng())
    amounts = changes.blur if what == "blurred" else changes.noise
    assert float((amounts > 0).float().mean()) == pytest.approx(0.3, abs=0.03)
