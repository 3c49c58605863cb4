"""Recipes on drawn portraits, and networks of the real classes with weights at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.networks.classifier import AttributeClassifier
from invertory.resources import models
from invertory.resources.checkpoints import write_network

PX = 32
NETWORKS: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "portraits_generator": (
        "generator",
        "stylegan2",
        StyleGAN2,
        {"z_dim": 8, "w_dim": 8, "img_resolution": PX, "channel_base": 128, "channel_max": 8},
    ),
    "portraits_classifier": (
        "classifier",
        "attribute_classifier",
        AttributeClassifier,
        {"binary": ["glasses", "male"], "continuous": ["yaw_deg"], "size_px": 16, "widths": [4, 8]},
    ),
    "portraits_domain_guided_encoder": (
        "encoder",
        "residual_encoder",
        ResidualEncoder,
        {"resolution": PX, "num_ws": 8, "w_dim": 8, "channels": [4] * 4, "narrow": 2, "hidden": 8},
    ),
}


@dataclass(frozen=True)
class Domain:
    """The domain of drawn portraits."""

    px: int = PX
    address: str = "portraits://?num=12&seed=1&glasses|male=0.8&glasses|!male=0.2"

    @property
    def networks(self) -> dict[str, tuple[str, str, Any, dict[str, Any]]]:
        """name => kind, architecture, class, arguments."""
        return NETWORKS

    def bundle(self, folder: Path, *names: str) -> Path:
        """Networks of the real classes with weights at random, and their cards."""
        for name in names:
            like = name.replace("conventional", "domain_guided")
            kind, word, network, config = NETWORKS[like]
            card = {
                "name": name,
                "kind": kind,
                "architecture": {"name": word, "config": config},
                "licence": "none",
                "provenance": "a test",
            }
            if kind != "classifier":
                card["generator"] = "portraits_generator"
            write_network(folder, name, self.filled(network(**config)), card)
        return folder

    def filled(self, network: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Weights at random, so that latents differ in their pictures, pictures in their scores."""
        rng = torch.Generator().manual_seed(1)
        tensors = dict(network.state_dict())
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                scale = 100.0 if name.startswith("mapping.") else 0.5  # its rate is 0.01
                tensors[name] = scale * torch.randn(parameter.shape, generator=rng)
            elif name.endswith("affine.bias"):
                tensors[name] = torch.ones(parameter.shape)
        return tensors

    def recipe(self, uri: Any = None, **parts: Any) -> dict[str, Any]:
        fitted = {"num_samples": 40, "ratio": 0.5, "solver": "linear"}
        return {
            "name": "drawn",
            "collection": {"uri": uri or self.address},
            "alignment": {"kind": "centre", "size_px": self.px},
            "generator": {"name": "portraits"},
            "perceptual": {"name": "portraits_classifier"},
            "methods": {"in_domain": {"steps": 2}},
            "attributes": {
                "glasses": {"scorer": "classifier"},
                "sex": {"scorer": "classifier", "score": "male"},
                "true_glasses": {"scorer": "labels", "column": "glasses"},
                "age_years": {"scorer": "labels"},
            },
            "boundaries": {"glasses": fitted, "age_years": {"fit": "collection", "ratio": 0.5}},
            "edits": [{"attribute": "glasses", "steps": [1.0]}],
            "checks": {"min_psnr_db": -50.0},
            "resources": {"device": "cpu", "batch_size": 16},
            **parts,
        }

    def write(self, folder: Path, content: dict[str, Any]) -> Path:
        path = folder / "drawn.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


@pytest.fixture(scope="session")
def domain() -> Domain:
    return Domain()


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of that of the bundled weights."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr(models, "BUNDLED", folder)
    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    return folder
