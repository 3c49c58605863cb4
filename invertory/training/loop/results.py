"""The results of a training: atomically replaced files, and networks with their cards."""

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
    """Write `stem`.safetensors, and `stem`.json with the architecture and `facts`."""
    tensors = {key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}
    path = stem.with_name(f"{stem.name}.safetensors")
    temporary = path.with_name(f".{path.name}")
    save_file(tensors, temporary)
    temporary.replace(path)
    config = plain(network.config)
    card = {"architecture": {"name": architecture_name(network), "config": config}, **facts}
    replace_file(path.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())


def architecture_name(network: nn.Module) -> str:
    """The name of a network's class in `NETWORKS`; raises ValueError for other classes."""
    classes: Mapping[str, Any] = NETWORKS
    for name, cls in classes.items():
        if type(network) is cls:
            return name
    raise ValueError(
        f"expected a network among {sorted(classes)}, got {type(network).__name__}: "
        "name its class in invertory/networks/__init__.py"
    )


def plain(config: Any) -> Any:
    """A configuration as JSON returns it, so that stored and current ones can be compared."""
    return json.loads(json.dumps(config if isinstance(config, Mapping) else asdict(config)))


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically: readers see the old or the new contents."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
