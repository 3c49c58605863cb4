"""The networks of a training as files with cards, published on this host or bundled."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from invertory.resources.cards import has_card, read_card
from invertory.resources.checkpoints import load_network, write_network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from invertory.pipelines.training.networks import Used
    from invertory.pipelines.training.trainers import Work
    from invertory.pipelines.training.training import TrainingSpec

MAX_HALF_ERROR: Final = 5e-3  # relative, of the outputs; an image's last bit is 4e-3 of its range
MAX_BUNDLED_BYTES: Final = 60_000_000  # of all bundled networks
NUM_PROBES: Final = 16


def headline(quality: dict[str, float]) -> dict[str, float]:
    """The metrics over the whole set; those of a subset are named `<metric>/<subset>`."""
    return {name: value for name, value in quality.items() if "/" not in name}


def kept(folder: Path, spec: TrainingSpec, key: str) -> dict[str, dict[str, Any]] | None:
    """Cards by name where `folder` has every network of this run, trained for the whole budget."""
    cards = {}
    for name in spec.named.values():
        if not has_card(folder, name) or not (folder / f"{name}.safetensors").is_file():
            return None
        cards[name] = read_card(folder, name)
    is_whole = all(
        card.get("run") == key and card.get("images_seen", 0) >= spec.budget.images
        for card in cards.values()
    )
    return cards if is_whole else None


def publish(
    spec: TrainingSpec,
    work: Work,
    used: Mapping[str, Used],
    place: Path,
    target: Path,
    key: str,
) -> dict[str, dict[str, Any]]:
    """Publish the networks that the training left in `place`, with their names and full cards."""
    from safetensors.torch import load_file

    cards = {}
    for kind, name in spec.named.items():
        weights = place / f"{kind}.safetensors"
        left = json.loads(weights.with_suffix(".json").read_text())
        error = rounding(kind, load_network(weights), work)
        card = {
            "name": name,
            "kind": kind,
            "source": f"trained://{name}",
            "architecture": left["architecture"],
            **_made_for(kind, spec, used),
            "licence": spec.licence,
            "provenance": spec.provenance or _provenance(spec),
            "command": f"invertory train {spec.name} --images {spec.budget.images}",
            "trainer": spec.trainer,
            "settings": left["settings"],
            "data": _data(spec, work),
            "uses": {k: {"name": one.name, "sha256": one.sha256} for k, one in used.items()},
            "images_seen": left["images_seen"],
            "seconds": left["seconds"],
            "trained_on": _trained_on(work),
            "quality": left["metrics"],
            "dtype": "float32",
            "float16_error": error,
            "run": key,
        }
        cards[name] = write_network(target, name, load_file(weights), card)
    return cards


def bundle(cards: Mapping[str, Mapping[str, Any]], source: Path) -> dict[str, dict[str, Any]]:
    """Copy the networks of `source` into the package, in half precision where the error is small.

    Their cards state that error. Raises ValueError where the package would become too large.
    """
    from safetensors.torch import load_file

    from invertory.resources import models

    bundled = {}
    for name, card in cards.items():
        tensors = load_file(source / f"{name}.safetensors")
        is_half = card["float16_error"] <= MAX_HALF_ERROR
        if is_half:
            tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
        _check_room(models.BUNDLED, name, tensors)
        bundled_card = {
            **card,
            "source": f"bundled://{name}",
            "dtype": "float16" if is_half else "float32",
        }
        bundled[name] = write_network(models.BUNDLED, name, tensors, bundled_card)
    return bundled


def rounding(kind: str, network: nn.Module, work: Work) -> float:
    """Relative error of the network's outputs when its weights are rounded to float16."""
    import torch

    from invertory.training.rounding import outputs_for_images, outputs_for_z, rounding_error

    rng = torch.Generator().manual_seed(0)
    if kind == "generator":
        z = torch.randn(NUM_PROBES, cast("Any", network).z_dim, generator=rng)
        return rounding_error(network, outputs_for_z(z))
    if kind == "linknet":
        generator: Any = work.networks["generator"]
        z = torch.randn(NUM_PROBES * generator.num_ws, generator.z_dim, generator=rng)
        w = generator.mapping(z.to(generator.w_avg)).cpu()
        return rounding_error(network, outputs_for_images(w.view(NUM_PROBES, generator.num_ws, -1)))
    if kind == "sam_encoder":  # the finest space for the whole image uses every module
        shown, generator = _pictures(work), copy.deepcopy(work.networks["generator"]).cpu()
        choice = torch.full((len(shown), *shown.shape[2:]), len(cast("Any", network).spaces) - 1)
        return rounding_error(network, lambda sam: sam.form(generator, shown, choice).images)
    if kind == "samm":  # it takes an image with its reconstruction by these two
        parts = [copy.deepcopy(work.networks[name]).cpu() for name in ("generator", "encoder")]
        shown = _pictures(work)
        return rounding_error(network, lambda samm: samm(*parts, shown))
    return rounding_error(network, outputs_for_images(_pictures(work)))


def _pictures(work: Work) -> torch.Tensor:
    """Some of the training images, [N, 3, H, W] in [-1, 1]."""
    import torch

    pictures = torch.from_numpy(work.pixels[:NUM_PROBES].copy())
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def _check_room(folder: Path, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    others = sum(p.stat().st_size for p in folder.glob("*.safetensors") if p.stem != name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    if others + size > MAX_BUNDLED_BYTES:
        raise ValueError(
            f"expected bundled weights of at most {MAX_BUNDLED_BYTES / 1e6:.0f} MB together, got "
            f"{(others + size) / 1e6:.1f} MB with {name}; train a smaller network"
        )


def _made_for(kind: str, spec: TrainingSpec, used: Mapping[str, Used]) -> dict[str, str]:
    """The generator that the network was made for, where there is one."""
    of_its_own = spec.named.get("generator")
    if of_its_own:  # even where it began as a copy of another
        return {"generator": of_its_own} if kind != "generator" else {}
    return {"generator": used["generator"].name} if "generator" in used else {}


def _provenance(spec: TrainingSpec) -> str:
    data = {
        "portraits": "portraits that Invertory draws itself",
        "images": "the user's images",
        "pairs": "images that its generator made",
        "images and pairs": "the user's images and images that its generator made",
    }
    return f"trained on {data[spec.data.kind] if spec.data else data['pairs']}"


def _data(spec: TrainingSpec, work: Work) -> dict[str, Any]:
    """The declared data; of the user's images only their number, as their paths are private."""
    if spec.data is None:
        return {"drawn": "from the generator, step by step"}
    declared = spec.data.model_dump(mode="json", exclude_none=True)
    if work.images is not None:
        declared["images"] = {"crops": len(work.images), "size_px": work.images.shape[1]}
    return declared


def _trained_on(work: Work) -> dict[str, str]:
    """The device and the precision."""
    import torch

    device = torch.device(work.compute.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "precision": work.compute.precision}
