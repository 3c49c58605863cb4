"""What a training leaves: files replaced whole, networks with the card of what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from invertory.networks import NETWORKS


def write_network(stem: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """`stem`.safetensors, and `stem`.json with the architecture and `facts`."""
    tensors = {key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}
    path = stem.with_name(f"{stem.name}.safetensors")
    temporary = path.with_name(f".{path.name}")
    save_file(tensors, temporary)
    temporary.replace(path)
    config = plain(network.config)
    card = {"architecture": {"name": architecture_name(network), "config": config}, **facts}
    replace_file(path.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())


def architecture_name(network: nn.Module) -> str:
    """Its class's word in `NETWORKS`."""
    classes: Mapping[str, Any] = NETWORKS
    for name, cls in classes.items():
        if type(network) is cls:
            return name
    raise ValueError(
        f"expected a network among {sorted(classes)}, got {type(network).__name__}: "
        "name its class in invertory/networks/__init__.py"
    )


def plain(config: Any) -> Any:
    """As JSON gives it back, so that what was stored compares with what is given."""
    return json.loads(json.dumps(config if isinstance(config, Mapping) else asdict(config)))


def replace_file(path: Path, data: bytes) -> None:
    """The file is the old or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
