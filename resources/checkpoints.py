"""Load a network from its weights and its card, and write both to a folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.resources.addresses import Address, scheme_of
from invertory.resources.atomic import replacing_file
from invertory.resources.models import ModelStore, silent
from invertory.resources.pypi import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_network(weights: Path, default: str = "", *, card: Path | None = None) -> "nn.Module":
    """Load a network from safetensors and the .json card next to it; frozen, on the CPU.

    The JSON of a user's network may instead hold only the arguments of the architecture `default`.
    Raises FileNotFoundError without a card, and ValueError for an unknown architecture or weights
    that do not match the card.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from invertory.networks import build

    card = card or weights.with_suffix(".json")
    if not card.is_file():
        raise FileNotFoundError(
            f"expected the network's card at {card}, got no such file; write one: "
            '{"architecture": {"name": "stylegan2", "config": {"img_resolution": 256, ...}}}'
        )
    name, config = _architecture(card, default)
    try:
        network = build(name, config, load_file(weights))
    except SafetensorError as error:
        text = f"expected safetensors in {weights}, got another format ({error}); convert the file"
        raise ValueError(text) from error
    except ValueError as error:
        raise type(error)(f"{weights}: {error}") from error
    return network.eval().requires_grad_(False)


def fetch_network(
    uri: str, models: ModelStore, sha256: str | None = None, *, progress: Progress = silent
) -> tuple[Path, Path]:
    """Fetch (weights, card); the card of a remote address is downloaded too."""
    weights = models.fetch(uri, sha256, progress=progress)
    card = weights.with_suffix(".json")
    address = Address(uri)
    if scheme_of(address.opened) in ("", "bundled", "trained") or card.is_file():
        return weights, card
    return weights, models.fetch(address.beside(".safetensors", ".json"), progress=progress)


def network_card(uri: str, models: ModelStore) -> dict[str, Any]:
    """Return everything in the card of the weights at `uri`."""
    if uri.startswith(("bundled://", "trained://")):
        return models.full_card(uri)
    content: dict[str, Any] = json.loads(fetch_network(uri, models)[1].read_text())
    return content


def write_network(
    folder: Path, name: str, tensors: Mapping[str, "Tensor"], card: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `<name>.safetensors` and the card `<name>.json` with its digest; return the card.

    If the process is killed between the two files, the digest does not match until the next write.
    """
    from safetensors.torch import save

    data = save({key: tensor.contiguous() for key, tensor in tensors.items()})
    content = {**card, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    text = json.dumps(content, indent=2) + "\n"
    for suffix, file_bytes in (("safetensors", data), ("json", text.encode())):
        with replacing_file(folder / f"{name}.{suffix}") as file:
            file.write(file_bytes)
    return content


def _architecture(card: Path, default: str) -> tuple[str, Mapping[str, Any]]:
    """Return (name, config) of the architecture in the card."""
    content = json.loads(card.read_text())
    named = content.get("architecture")
    if default and not isinstance(named, Mapping):  # StyleGAN2 has an argument of that name
        return default, content
    if not isinstance(named, Mapping) or "name" not in named:
        raise ValueError(
            f'expected "architecture": {{"name": ..., "config": ...}} in {card}, got {named!r}; '
            "add it, or use weights with a card that has it"
        )
    return str(named["name"]), named.get("config", {})
