"""Partners keep the target distance and negate the protected one; official results."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from invertory.boundaries import Boundary, fit_boundary, unit
from invertory.debias import move_to, pair, partner

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/data/golden/gan_debiasing"
VARIANTS = {
    "pair": "X_all",
    "on_hyperplane": "X_on_hyperplane",
    "perpendicular": "X_perp",
    "perpendicular_on_hyperplane": "X_perp_on_hyperplane",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    if not GOLDEN.exists():
        pytest.skip("../shared/data/golden/gan_debiasing is absent: no official numbers to meet")
    with np.load(GOLDEN / "gan_debiasing.npz", allow_pickle=False) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def official_rows(part: str) -> slice:
    """Rows of the "train" or "augmented" latents in the official run."""
    told = json.loads((GOLDEN / "gan_debiasing.json").read_text())["linear"]
    return slice(*map(int, told[f"{part}_rows"].split(":")))


def plane(seed: int, w_dim: int = 16, rows: int = 1, offset: float = 0.3) -> Boundary:
    generator = torch.Generator().manual_seed(seed)
    normal = unit(torch.randn(rows, w_dim, generator=generator))
    return Boundary(normal=normal, offset=offset)


def draws(num: int = 20, rows: int = 5, w_dim: int = 16) -> torch.Tensor:
    return torch.randn(num, rows, w_dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_official_pairs_with_given_planes(golden: dict[str, torch.Tensor], variant: str) -> None:
    planes = {}
    for name in "ag":
        coef, intercept = golden[f"fixed/raw_coef_{name}"][0], golden[f"fixed/raw_intercept_{name}"]
        planes[name] = (coef / coef.norm(), float(intercept / coef.norm()))
    found = pair(golden["latent/X"][official_rows("augmented")], planes["a"], planes["g"], variant)
    wanted = golden[f"fixed/{VARIANTS[variant]}"]
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_official_pairs_with_fitted_planes(golden: dict[str, torch.Tensor], variant: str) -> None:
    planes = {
        name: (golden[f"fitted/coef_{name}"][0], float(golden[f"fitted/intercept_{name}"]))
        for name in "ag"
    }
    found = pair(golden["latent/X"][official_rows("augmented")], planes["a"], planes["g"], variant)
    wanted = golden[f"fitted/{VARIANTS[variant]}"]
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("name", "labels"), [("a", "target"), ("g", "protected")])
def test_official_planes_are_fitted(
    golden: dict[str, torch.Tensor], name: str, labels: str
) -> None:
    train = official_rows("train")
    fitted = fit_boundary(
        golden["latent/X"][train],
        golden[f"latent/labels_{labels}"][train],
        selection="threshold",
        split=1.0,
        solver="linear",
    )
    coef = golden[f"fitted/coef_{name}"]
    torch.testing.assert_close(fitted.normal, coef, atol=1e-3, rtol=0)
    assert fitted.offset == pytest.approx(float(golden[f"fitted/intercept_{name}"]), abs=1e-3)


@pytest.mark.parametrize("rows", ["together", "each"])
def test_partner_keeps_target_and_negates_protected(rows: str) -> None:
    w, target, protected = draws(), plane(2), plane(3)
    moved = partner(w, target, protected, rows=rows)
    for before, after in (
        zip((w, *w.split(1, 1)), (moved, *moved.split(1, 1)), strict=True)
        if rows == "each"
        else [(w, moved)]
    ):
        torch.testing.assert_close(
            target.distance(after), target.distance(before), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            protected.distance(after), -protected.distance(before), atol=1e-6, rtol=0
        )


def test_one_row_boundaries_move_all_rows_alike() -> None:
    w = draws()
    shift = partner(w, plane(2), plane(3)) - w
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-6, rtol=0)


def test_further_constraints_are_kept_in_w_plus() -> None:
    w, target, protected = draws().double(), plane(2, rows=5), plane(3, rows=5)
    extra = [plane(4), plane(5, rows=5, offset=-1.0)]
    moved = partner(w, target, protected, extra)
    for bound in (target, *extra):
        torch.testing.assert_close(bound.distance(moved), bound.distance(w))
    torch.testing.assert_close(protected.distance(moved), -protected.distance(w))


def test_move_is_the_least_one() -> None:
    z, W = draws(4, 1, 8)[:, 0].double(), draws(1, 2, 8)[0].double()
    b, s = torch.tensor([0.1, -0.2]).double(), torch.ones(4, 2).double()
    moved = move_to(z, W, b, s)
    torch.testing.assert_close(moved @ W.T + b, s)
    off_span = torch.linalg.qr(W.T, mode="complete").Q[:, 2:]
    assert float(((moved - z) @ off_span).abs().max()) < 1e-12


def test_partner_of_a_partner_is_the_latent_itself() -> None:
    w = draws().double()
    twice = partner(partner(w, plane(2), plane(3)), plane(2), plane(3))
    torch.testing.assert_close(twice, w)


def test_least_distance_beyond_the_plane() -> None:
    w, target, protected = draws().double(), plane(2), plane(3)
    labels = torch.arange(20) % 2 == 0  # not always the side on which the latent lies
    moved = partner(w, target, protected, min_distance=2.0, is_protected=labels)
    distance = protected.distance(moved)
    assert float(distance.abs().min()) >= 2.0 - 1e-9
    assert torch.equal(distance < 0, labels)
    torch.testing.assert_close(target.distance(moved), target.distance(w))


def test_the_same_boundary_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="drop one"):
        partner(draws(), plane(2), plane(2))


def test_rows_by_themselves_need_boundaries_of_one_row() -> None:
    with pytest.raises(ValueError, match="fit them in W"):
        partner(draws(), plane(2), plane(3, rows=5), rows="each")


def test_batch_of_four_equals_four_of_one() -> None:
    w = draws(4)
    whole = partner(w, plane(2), plane(3))
    torch.testing.assert_close(
        whole, torch.cat([partner(row, plane(2), plane(3)) for row in w.split(1)])
    )


def test_bare_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="calibrate_offset"):
        partner(draws(), plane(2), Boundary(normal=plane(3).normal))
