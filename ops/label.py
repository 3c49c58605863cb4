"""Label: crops to raw scores; a crop that a scorer cannot read is a reject.

A score is read off the crop, or looked up in labels that came with the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from invertory.images import BadImage, Pixels, decode
from invertory.ops.schemas import attributes
from invertory.ops.streams import Chunk, chunk, reject
from invertory.scoring import BadScore, Scorer, Scores

NUM_TOGETHER: Final = 32


class Labels(Protocol):
    """What is known of a collection's pictures without looking at them."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def find(self, uri: str) -> Scores | BadScore:
        """A score under each of `names` for the picture at `uri`, or why there is none."""
        ...


class Label:
    """Rows of `aligned` => rows of `attributes`, with `score_<name>` of each of `names`.

    Each name must come from one scorer or one table of labels, and one only.
    """

    def __init__(
        self, scorers: Sequence[Scorer], names: Sequence[str], labels: Sequence[Labels] = ()
    ) -> None:
        sources: list[Scorer | Labels] = [*scorers, *labels]
        offered = [name for source in sources for name in source.names]
        for name in names:
            if offered.count(name) != 1:
                raise ValueError(
                    f"attribute {name!r} is given by {offered.count(name)} scorers, expected one; "
                    f"offered are {sorted(offered)}"
                )
        self._scorers = tuple(scorers)
        self._labels = tuple(labels)
        self._names = tuple(names)
        self._schema = attributes(names)

    def __call__(self, aligned: pa.RecordBatch) -> Chunk:
        rows: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        for crop, scores in self._seen(aligned):
            found = _finite(self._with_labels(scores, crop["uri"]), self._names)
            if isinstance(found, BadScore):
                rejects.append(reject(crop["crop_id"], "not_scored", found.reason))
            else:
                named = {f"score_{name}": found[name] for name in self._names}
                ids = {"crop_id": crop["crop_id"], "image_id": crop["image_id"]}
                rows.append(ids | named)
        return chunk(aligned.num_rows, rows, rejects, self._schema)

    def _seen(self, aligned: pa.RecordBatch) -> Iterator[tuple[dict[str, Any], Scores | BadScore]]:
        """Each crop with what the scorers say of it; `NUM_TOGETHER` are decoded at a time."""
        columns = aligned.select(["crop_id", "image_id", "uri", "crop"])
        for start in range(0, aligned.num_rows, NUM_TOGETHER):
            crops = columns.slice(start, NUM_TOGETHER).to_pylist()
            pictures = [_picture(crop["crop"]["bytes"]) for crop in crops]
            sound = [picture for picture in pictures if not isinstance(picture, BadScore)]
            scores = iter(_joined(self._scorers, sound))
            for crop, picture in zip(crops, pictures, strict=True):
                yield crop, picture if isinstance(picture, BadScore) else next(scores)

    def _with_labels(self, scores: Scores | BadScore, uri: str) -> Scores | BadScore:
        for labels in self._labels:
            if isinstance(scores, BadScore):
                return scores
            found = labels.find(uri)
            scores = found if isinstance(found, BadScore) else scores | found
        return scores


def score_pictures(
    scorers: Sequence[Scorer], names: Sequence[str], pictures: Sequence[Pixels]
) -> list[Scores | BadScore]:
    """All of `names` for each picture uint8 [H, W, 3], or the first reason against."""
    return [_finite(scores, names) for scores in _joined(scorers, pictures)]


def _joined(scorers: Sequence[Scorer], pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
    """What all scorers say of each picture; the first reason against counts."""
    joined: list[Scores | BadScore] = [{} for _ in pictures]
    for scorer in scorers if pictures else ():
        for i, result in enumerate(scorer.score(pictures)):
            before = joined[i]
            if not isinstance(before, BadScore):
                joined[i] = result if isinstance(result, BadScore) else before | result
    return joined


def _finite(scores: Scores | BadScore, names: Sequence[str]) -> Scores | BadScore:
    """The scores of `names` alone, all of them finite."""
    if isinstance(scores, BadScore):
        return scores
    for name in names:
        if not np.isfinite(scores[name]):
            return BadScore(f"the score {name} is {scores[name]}")
    return {name: scores[name] for name in names}


def _picture(crop: bytes) -> Pixels | BadScore:
    try:
        return decode(crop).pixels
    except BadImage as error:
        return BadScore(f"the crop is {error.status}: {error.reason}")
