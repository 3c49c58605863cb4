"""Edits change the scores of the toy's images by their steps."""

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch

from invertory.boundaries import Boundary, project
from invertory.images import decode
from invertory.ops.edit import Edit, EditSpec
from invertory.ops.render import Renderer, read_latents
from invertory.ops.streams import run


def test_edits_move_the_score_by_the_step(
    latents: pa.RecordBatch, boundaries: dict[str, Boundary], renderer: Callable[..., Renderer]
) -> None:
    specs = [
        EditSpec(attribute="smile", steps=(-0.5, 0.0, 0.5)),
        EditSpec(attribute="old", steps=(0.5,), layers="0-1"),
    ]
    verb = Edit(renderer=renderer(), boundaries=boundaries, specs=specs)
    done = verb(latents.slice(0, 3))
    assert done.rows.schema.equals(verb.schema) and done.num_inputs == 3
    rows = done.rows.to_pylist()
    assert [row["edit_id"] for row in rows[:4]] == [
        "00:0:smile:-0.5", "00:0:smile:+0", "00:0:smile:+0.5", "00:0:old:+0.5",
    ]  # fmt: skip
    low, same, high, old = rows[:4]
    assert high["score_smile"] - same["score_smile"] == pytest.approx(0.5, abs=0.1)
    assert low["score_smile"] - same["score_smile"] == pytest.approx(-0.5, abs=0.1)
    assert old["score_old"] - same["score_old"] == pytest.approx(0.25, abs=0.1)  # 2 of 4 rows
    assert old["layers"] == "0-1"
    assert decode(old["picture"]["bytes"]).pixels.shape == (16, 16, 3)


def test_steps_in_units_of_the_spread(
    latents: pa.RecordBatch, boundaries: dict[str, Boundary], renderer: Callable[..., Renderer]
) -> None:
    specs = [EditSpec(attribute="smile", steps=(1.0,), unit="spread")]
    verb = Edit(renderer=renderer(), boundaries=boundaries, specs=specs)
    moved = read_latents(verb(latents.slice(0, 1)).rows.column("latent"))
    shift = moved - read_latents(latents.slice(0, 1).column("latent"))
    assert float(project(shift, boundaries["smile"].normal)) == pytest.approx(
        boundaries["smile"].spread, rel=1e-5
    )


def test_edits_that_cannot_be_scored_are_rejects(
    latents: pa.RecordBatch, truth: dict[str, torch.Tensor], renderer: Callable[..., Renderer]
) -> None:
    away = {"away": Boundary(normal=truth["forbidden"])}
    specs = [EditSpec(attribute="away", steps=(0.0, 9.0))]
    done = Edit(renderer=renderer(), boundaries=away, specs=specs)(latents)
    assert done.rows.num_rows + done.rejects.num_rows == 2 * done.num_inputs
    rejected = done.rejects.to_pylist()
    assert {row["status"] for row in rejected} == {"not_scored"}
    assert "29:0:away:+9" in {row["row_id"] for row in rejected}


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([EditSpec(attribute="hat", steps=(1.0,))], "fit or import"),
        ([EditSpec(attribute="smile", steps=(1.0,))] * 2, "each attribute once"),
        ([EditSpec(attribute="smile", steps=(1.0, 1.0))], "distinct steps"),
        ([EditSpec(attribute="smile", steps=())], "distinct steps"),
        ([EditSpec(attribute="smile", steps=(1.0,), layers="0-9")], "within 0-3"),
        ([EditSpec(attribute="away", steps=(1.0,), unit="spread")], "with a spread"),
        ([EditSpec(attribute="away", steps=(1.0,), mode="absolute")], "with a plane"),
    ],
)
def test_invalid_edits_are_refused(
    boundaries: dict[str, Boundary],
    specs: list[EditSpec],
    words: str,
    renderer: Callable[..., Renderer],
) -> None:
    known = boundaries | {"away": Boundary(normal=boundaries["old"].normal)}
    with pytest.raises(ValueError, match=words):
        Edit(renderer=renderer(), boundaries=known, specs=specs)


def test_chunks_do_not_change_the_rows(
    latents: pa.RecordBatch, boundaries: dict[str, Boundary], renderer: Callable[..., Renderer]
) -> None:
    specs = [EditSpec(attribute="smile", steps=(-1.0, 1.0))]
    verb = Edit(renderer=renderer(), boundaries=boundaries, specs=specs)
    whole, parts = (
        pa.Table.from_batches(done.rows for done in run(verb, [latents], commit_rows=n))
        for n in (30, 7)
    )
    assert whole.combine_chunks().equals(parts.combine_chunks())


def test_latents_of_one_row_are_stored_with_all_rows(
    samples: list[pa.RecordBatch],
    boundaries: dict[str, Boundary],
    renderer: Callable[..., Renderer],
) -> None:
    few = samples[0].slice(0, 2)
    one_row = pa.RecordBatch.from_arrays(
        [few["sample_id"], few["sample_id"], few["w"]], names=["crop_id", "image_id", "latent"]
    )
    specs = [EditSpec(attribute="smile", steps=(0.2,), layers="0")]
    done = Edit(renderer=renderer(), boundaries=boundaries, specs=specs)(one_row)
    moved = read_latents(done.rows.column("latent"))
    assert moved.shape[1:] == (4, 12)
    assert not torch.equal(moved[:, 0], moved[:, 1]) and torch.equal(moved[:, 1], moved[:, 3])
