import numpy as np
import pytest

from invertory.portraits import ATTRIBUTES, World, dataset, draw, render
from invertory.portraits.dataset import open_set, prepare


def test_a_row_is_the_portrait_of_its_seed(tmp_path):
    rows = prepare(tmp_path / "set", 5, size_px=16, seed=3, world=World(ood=0.5))
    assert len(rows) == 5 and rows.names == ATTRIBUTES
    portrait = draw(rows.portrait_seed(4), World(ood=0.5))
    rendering = render(portrait, 16)
    np.testing.assert_array_equal(rows.images[4], rendering.image)
    np.testing.assert_array_equal(rows.segmentations[4], rendering.segmentation)
    np.testing.assert_array_equal(rows.landmarks[4], rendering.landmarks)
    assert rows.column("smile")[4] == portrait.attributes["smile"]
    assert rows.column("age_years")[4] == pytest.approx(portrait.age_years)


def test_a_set_is_the_same_with_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_ROWS", 4)
    alone = prepare(tmp_path / "alone", 9, size_px=16)
    told: list[tuple[int, int]] = []
    both = prepare(
        tmp_path / "both",
        9,
        size_px=16,
        processes=2,
        progress=lambda done, num: told.append((done, num)),
    )
    assert told[0] == (0, 9) and told[-1] == (9, 9) and len(told) == 4
    np.testing.assert_array_equal(alone.images, both.images)
    np.testing.assert_array_equal(alone.attributes, both.attributes)


def test_a_killed_preparation_goes_on_with_its_missing_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_ROWS", 4)
    rows = prepare(tmp_path / "set", 10, size_px=16)
    whole = rows.images.copy()
    (tmp_path / "set" / "block-00001.done").unlink()
    maps = np.load(tmp_path / "set" / "pictures.npy", mmap_mode="r+")
    maps[:] = 0
    maps.flush()
    with pytest.raises(ValueError, match=r"expected 3 finished blocks.*1 are missing"):
        open_set(tmp_path / "set")
    again = prepare(tmp_path / "set", 10, size_px=16)
    np.testing.assert_array_equal(again.images[4:8], whole[4:8])
    assert not again.images[:4].any()  # finished blocks are not drawn again


def test_a_folder_with_another_set_is_left_alone(tmp_path):
    prepare(tmp_path, 2, size_px=16)
    before = (tmp_path / "pictures.npy").read_bytes()
    with pytest.raises(ValueError, match="num: 2 stored, 3 requested; use another folder"):
        prepare(tmp_path, 3, size_px=16)
    with pytest.raises(ValueError, match="world: "):
        prepare(tmp_path, 2, size_px=16, world=World(ood=0.1))
    assert (tmp_path / "pictures.npy").read_bytes() == before


@pytest.mark.parametrize("wrong", [{"num": 0}, {"size_px": 8}, {"processes": 0}, {"seed": -1}])
def test_impossible_numbers_are_told_before_anything_is_written(tmp_path, wrong):
    asked = {"num": 2, "size_px": 16} | wrong
    with pytest.raises(ValueError, match=f"expected.*{next(iter(wrong))}"):
        prepare(tmp_path / "set", **asked)
    assert not (tmp_path / "set").exists()


def test_an_empty_folder_holds_no_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a set of portraits"):
        open_set(tmp_path)
