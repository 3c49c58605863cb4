"""Partners on the toy generator, checked against the true scores."""

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch

from invertory.boundaries import Boundary, condition_normal
from invertory.ops.augment import Augment, Label
from invertory.ops.render import Renderer, read_latents
from invertory.ops.streams import run

Boundaries = dict[str, Boundary]


@pytest.fixture
def augment(renderer: Callable[..., Renderer]) -> Callable[..., Augment]:
    """augment(boundaries, **options) => the verb, with target smile and protected old."""

    def made(boundaries: Boundaries, **options: object) -> Augment:
        labels = {
            role: Label(score=name, threshold=0.0, boundary=boundaries[name])
            for role, name in (("target", "smile"), ("protected", "old"))
        }
        return Augment(renderer=renderer(), **(labels | options))

    return made


def test_partners_have_target_kept_and_protected_flipped(
    joined: pa.RecordBatch, boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    verb = augment(boundaries)
    done = verb(joined)
    assert done.rows.schema.equals(verb.schema)
    assert done.rows.num_rows + done.rejects.num_rows == done.num_inputs == 30
    assert done.rows.num_rows > 15
    before = {row["crop_id"]: row for row in joined.to_pylist()}
    for row in done.rows.to_pylist():
        crop = before[row["crop_id"]]
        assert row["target_label"] == (crop["score_smile"] >= 0) == (row["score_smile"] >= 0)
        assert row["protected_label"] == (crop["score_old"] < 0) == (row["score_old"] >= 0)
        assert row["score_smile"] == pytest.approx(crop["score_smile"], abs=0.15)
        assert row["score_old"] == pytest.approx(-crop["score_old"], abs=0.3)
        original = torch.tensor(crop["latent"])[None]
        assert row["distance_target"] == pytest.approx(
            float(boundaries["smile"].distance(original)), abs=1e-5
        )
        assert row["distance_protected"] == pytest.approx(
            -float(boundaries["old"].distance(original)), abs=1e-5
        )


def test_why_a_crop_has_no_partner(
    joined: pa.RecordBatch, boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    swapped = boundaries | {"old": boundaries["smile"], "smile": boundaries["old"]}
    done = augment(swapped)(joined)  # planes that do not do what they are said to
    statuses = dict(
        zip(*(done.rejects.column(n).to_pylist() for n in ("row_id", "status")), strict=True)
    )
    assert {"target_changed", "not_scored"} <= set(statuses.values())
    assert statuses["29:0"] == "not_scored"  # it had no score to begin with
    assert done.rows.num_rows + done.rejects.num_rows == 30


def nowhere(boundaries: Boundaries) -> torch.Tensor:
    """A normal that changes neither score."""
    normal = torch.eye(12, dtype=torch.float64)[:1]
    return condition_normal(normal, torch.stack([bound.normal for bound in boundaries.values()]))


def test_a_protected_label_that_stays_is_a_reject(
    joined: pa.RecordBatch, boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    no_effect = boundaries | {"old": Boundary(normal=nowhere(boundaries), offset=0.0)}
    statuses = augment(no_effect)(joined).rejects.column("status").to_pylist()
    assert statuses.count("protected_kept") > 5


def test_min_distance_saves_partners(
    joined: pa.RecordBatch, boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    plain, far = (augment(boundaries, min_distance=d)(joined).rows.num_rows for d in (0.0, 0.4))
    assert far >= plain


def test_directions_without_a_plane_and_unscored_attributes_are_refused(
    boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    bare = Label(score="old", threshold=0.0, boundary=Boundary(normal=boundaries["old"].normal))
    with pytest.raises(ValueError, match="calibrate_offset"):
        augment(boundaries, protected=bare)
    unknown = Label(score="hat", threshold=0.0, boundary=boundaries["old"])
    with pytest.raises(ValueError, match="add it to the recipe"):
        augment(boundaries, protected=unknown)


def test_chunks_do_not_change_the_rows(
    joined: pa.RecordBatch, boundaries: Boundaries, augment: Callable[..., Augment]
) -> None:
    whole, parts = (
        pa.Table.from_batches(
            done.rows for done in run(augment(boundaries), [joined], commit_rows=n)
        )
        for n in (30, 7)
    )
    assert whole.combine_chunks().equals(parts.combine_chunks())


def test_distances_to_extra_boundaries_are_kept(
    joined: pa.RecordBatch,
    boundaries: Boundaries,
    truth: dict[str, torch.Tensor],
    augment: Callable[..., Augment],
) -> None:
    extra = Boundary(normal=truth["forbidden"], offset=0.0)
    done = augment(boundaries, extra=[extra])(joined)
    latents = dict(
        zip(joined.column("crop_id").to_pylist(), read_latents(joined["latent"]), strict=True)
    )
    before = torch.stack([latents[name] for name in done.rows.column("crop_id").to_pylist()])
    after = read_latents(done.rows.column("latent"))
    torch.testing.assert_close(extra.distance(after), extra.distance(before), atol=1e-6, rtol=0)
