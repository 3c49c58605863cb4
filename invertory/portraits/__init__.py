"""Procedural portraits: synthetic faces whose attributes, edits and pixels are all known."""

from invertory.portraits.attributes import ATTRIBUTES, BINARY, CONTINUOUS, OOD_KINDS, SEGMENTS
from invertory.portraits.draw import draw
from invertory.portraits.ood import OodObject
from invertory.portraits.portrait import Portrait
from invertory.portraits.render import Rendering, render
from invertory.portraits.sheet import contact_sheet
from invertory.portraits.streams import row_seed
from invertory.portraits.world import World

__all__ = [
    "ATTRIBUTES",
    "BINARY",
    "CONTINUOUS",
    "OOD_KINDS",
    "SEGMENTS",
    "OodObject",
    "Portrait",
    "Rendering",
    "World",
    "contact_sheet",
    "draw",
    "render",
    "row_seed",
]
