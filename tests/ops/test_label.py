"""Crops become rows of raw scores, or rejects."""

import numpy as np
import pyarrow as pa
import pytest

from invertory.images import encode
from invertory.ops.label import Label
from invertory.ops.schemas import ALIGNED, attributes
from invertory.scoring import BadScore


class Brightness:
    """The mean level; black images cannot be scored, white ones give NaN."""

    names = ("brightness", "redness")

    def score(self, pictures):
        return [self._score(picture) for picture in pictures]

    def _score(self, picture):
        if not picture.any():
            return BadScore("it is black")
        mean = picture.mean(dtype=np.float64)
        return {"brightness": np.nan if mean == 255 else mean, "redness": picture[..., 0].mean()}


def crops(*levels):
    rows = []
    for index, level in enumerate(levels):
        data = level if isinstance(level, bytes) else encode(np.full((8, 8, 3), level, np.uint8))
        rows.append({
            "crop_id": f"{index}:0", "image_id": str(index), "uri": "", "face_index": 0,
            "num_faces": 1, "crop": {"bytes": data, "path": None}, "size_px": 8,
            "quad": [0.0] * 8, "crop_to_source": [0.0] * 6, "roll_deg": 0, "outside_share": 0,
        })  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=ALIGNED)


def test_a_crop_gives_a_row_of_the_requested_scores():
    done = Label([Brightness()], ["brightness"])(crops(10, 200))
    assert done.rows.schema == attributes(["brightness"])
    assert done.rows.to_pylist() == [
        {"crop_id": "0:0", "image_id": "0", "score_brightness": 10.0},
        {"crop_id": "1:0", "image_id": "1", "score_brightness": 200.0},
    ]


def test_an_unscorable_crop_is_a_reject_and_no_row_is_dropped():
    done = Label([Brightness()], ["brightness"])(crops(0, 10, 255, b"no picture"))
    assert done.num_inputs == 4 and done.rows["crop_id"].to_pylist() == ["1:0"]
    assert done.rejects["row_id"].to_pylist() == ["0:0", "2:0", "3:0"]
    assert set(done.rejects["status"].to_pylist()) == {"not_scored"}
    assert "nan" in done.rejects["error"][1].as_py()


def test_only_requested_scores_must_be_finite():
    done = Label([Brightness()], ["redness"])(crops(255))
    assert done.rows["score_redness"].to_pylist() == [255.0]


@pytest.mark.parametrize("scorers", [[], [Brightness(), Brightness()]])
def test_a_name_must_come_from_one_scorer(scorers):
    with pytest.raises(ValueError, match=f"attribute 'redness', got {len(scorers)}"):
        Label(scorers, ["redness"])


class Known:
    """Labels of images whose URI is not empty."""

    names = ("age",)

    def find(self, uri):
        return {"age": 7.0} if uri else BadScore("it has no address")


def test_labels_are_stored_with_scores():
    batch = crops(10, 20)
    batch = batch.set_column(2, "uri", pa.array(["a.jpg", ""]))
    done = Label([Brightness()], ["age", "redness"], [Known()])(batch)
    assert done.rows.to_pylist() == [
        {"crop_id": "0:0", "image_id": "0", "score_age": 7.0, "score_redness": 10.0}
    ]
    assert done.rejects["error"].to_pylist() == ["it has no address"]


def test_a_batch_of_crops_is_scored_like_single_crops():
    levels = [5 + i for i in range(70)]
    done = Label([Brightness()], ["brightness"])(crops(*levels))
    assert done.rows["score_brightness"].to_pylist() == levels
