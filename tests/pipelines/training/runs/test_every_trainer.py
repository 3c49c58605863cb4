"""Every trainer makes its network, each of what those before it made."""

from __future__ import annotations

from typing import Any

from invertory.pipelines.training.trainers import TRAINERS
from invertory.resources.checkpoints import load_network

SMALL = {"channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8]}
CHAIN: dict[str, dict[str, Any]] = {
    "parser": {"trainer": "parser", "settings": {"held_out": 8, "widths": [4, 8, 8]}},
    "points": {"trainer": "landmarks", "settings": {"held_out": 8, "widths": [4, 8, 8]}},
    "painter": {
        "trainer": "stylegan2",
        "uses": {"classifier": "trained://judge"},
        "gives": {"generator": "painter", "discriminator": "critic"},
        "settings": SMALL
        | {"encoder_channels": [8, 8, 8, 8], "w_dim": 8, "held_out": 8}
        | {"autoencoder_images": 8, "joint_images": 8},
    },
    "encoder": {
        "trainer": "conventional_encoder",
        "data": {"pairs": {"num": 32, "size_px": 32}},
        "uses": {"generator": "trained://painter", "perceptual": "trained://judge"},
        "settings": {"held_out": 8, "channels": [4, 8, 8, 8], "hidden": 8, "image_weight": 1.0},
    },
    "guided": {
        "trainer": "domain_guided_encoder",
        "uses": {
            "generator": "trained://painter",
            "discriminator": "trained://critic",
            "encoder": "trained://encoder",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 8},
    },
    "hardness": {
        "trainer": "invertibility",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "perceptual": "pixels",
        },
        "settings": {
            "num": 12,
            "held_out": 4,
            "widths": [4, 8],
            "inverting": {"steps": 1, "w_samples": 32},
        },
    },
    "aligned": {
        "trainer": "samm",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "discriminator": "trained://critic",
            "classifier": "trained://judge",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 8, "num_levels": 2},
    },
    **{
        family: {
            "trainer": family,
            "uses": {"generator": "trained://painter", "perceptual": "pixels"},
            "settings": {
                "held_out": 8,
                "widths": [4, 8, 8, 8, 8],
                "style_width": 8,
                "w_samples": 64,
            },
        }
        for family in ("psp", "e4e", "restyle")
    },
    "layered": {
        "trainer": "sam_encoder",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 4, "measured": 4, "hidden": 8, "depth": 1, "w_samples": 64},
    },
    "twins": {
        "trainer": "invgan",
        "uses": {"classifier": "trained://judge"},
        "gives": {"generator": "twins", "invgan": "twins_encoder"},
        "settings": SMALL | {"w_dim": 8, "held_out": 8, "start_images": 8},
    },
    "warm_twins": {  # painter and critic, made invertible
        "trainer": "invgan",
        "uses": {"generator": "trained://painter", "discriminator": "trained://critic"},
        "gives": {"generator": "warm_twins", "invgan": "warm_twins_encoder"},
        "settings": {"held_out": 8, "start_images": 8},
    },
    "link": {
        "trainer": "linknet",
        "data": None,
        "uses": {"generator": "trained://painter", "classifier": "trained://judge"},
        "settings": {"num_fitted": 64, "num_held_out": 16, "min_share": 0.0},
    },
}


def test_every_trainer_makes_its_network_of_what_those_before_it_made(spec_of, run, store, tiny):
    run(spec_of())
    for name, about in CHAIN.items():
        budget = {**tiny["budget"], "images": 24}
        spec = spec_of(**{"name": name, "settings": {}, "budget": budget, **about})
        found = run(spec)
        for made in found.cards.values():
            assert made["float16_error"] < 5e-3, made["name"]
            load_network(store.fetch(f"trained://{made['name']}"))
            of_none = ("classifier", "generator", "landmarks", "parser")
            is_of_none = made["kind"] in of_none
            wanted = name if made["kind"] == "invgan" else None if is_of_none else "painter"
            assert made.get("generator") == wanted
    assert {spec["trainer"] for spec in (tiny, *CHAIN.values())} == set(TRAINERS)
