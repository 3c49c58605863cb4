"""The datasheet of an exported set: its contents, its origin and its limits.

It answers the questions of Gebru et al. 2021, "Datasheets for Datasets",
https://arxiv.org/abs/1803.09010, as far as a pipeline can answer them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invertory.ops.export import GROUPS, Plan

NOT_STATED = "not stated"
LIMITS = (
    "Labels are thresholded scores of the models listed, not statements by the people shown; "
    "they err, and may err more for some people than for others.",
    "A binary protected attribute is a simplification. It does not describe anyone's identity.",
    "Partners are images from a generator: no such person exists. Their latents move along linear "
    "boundaries, which can change attributes that were meant to stay; only the target and the "
    "protected "
    "attribute were scored again.",
    "Originals and partners differ in kind. Where one group has more partners than another, a "
    "model can learn to distinguish synthesised images from photographs; compare the counts by "
    "role.",
    "Crops without a partner that passed the check are missing from a paired set; the rejects of "
    "the augmentation table list them with the reasons.",
    "The set inherits the biases of the collection, of the generator's training images and of "
    "the scoring models.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """The facts about one exported set."""

    title: str
    plan: Plan
    target: str  # name of the attribute
    protected: str
    target_rule: (
        str  # how the label is made, e.g. "score_smile >= 0.5 by mediapipe/face_landmarker"
    )
    protected_rule: str
    method: str  # inversion method
    selection: str  # requested counts and unit
    collection: str = NOT_STATED  # origin of the images
    collection_licence: str = NOT_STATED
    cards: Sequence[Mapping[str, Any]] = ()  # CARDS rows of the networks that were used
    keys: Mapping[str, str] = field(default_factory=dict)  # run id, recipe digest, table keys, ...
    rejects: Mapping[str, int] = field(default_factory=dict)  # of the augmentation, by status
    limits: Sequence[str] = ()  # in addition to LIMITS

    def content(self) -> dict[str, Any]:
        """Return all facts as JSON-serialisable values."""
        return {
            "title": self.title,
            "collection": self.collection,
            "collection_licence": self.collection_licence,
            "target": {"attribute": self.target, "rule": self.target_rule},
            "protected": {"attribute": self.protected, "rule": self.protected_rule},
            "method": self.method,
            "selection": self.selection,
            "counts": self.counts(),
            "rejected_partners": dict(self.rejects),
            "models": [dict(card) for card in self.cards],
            "limits": [*LIMITS, *self.limits],
            "keys": dict(self.keys),
        }

    def counts(self) -> list[dict[str, Any]]:
        """Return one row for each (target, protected) group."""
        chosen = [(row.group, row.is_partner) for row in self.plan.chosen.values()]
        return [
            {
                "target": group[0],
                "protected": group[1],
                "collection": self.plan.before[group],
                "partners": self.plan.partners[group],
                "exported_originals": chosen.count((group, False)),
                "exported_partners": chosen.count((group, True)),
                "exported": self.plan.after[group],
            }
            for group in GROUPS
        ]

    def json(self) -> str:
        return json.dumps(self.content(), indent=2, ensure_ascii=False, default=str) + "\n"

    def markdown(self) -> str:
        sections = {
            "Composition": self._composition(),
            "Collection": f"{self.collection}\n\nLicence: {self.collection_licence}",
            "Labels": self._labels(),
            "Making": self._making(),
            "Models": self._models(),
            "Limits": "\n".join(f"- {limit}" for limit in (*LIMITS, *self.limits)),
            "Keys": "\n".join(f"- {name}: `{value}`" for name, value in self.keys.items())
            or "none",
        }
        body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
        return f"# {self.title}\n\n{body}\n"

    def sheets(self) -> dict[str, str]:
        """Return the texts by file name, for `writers.write_set`."""
        return {"datasheet.md": self.markdown(), "datasheet.json": self.json()}

    def _composition(self) -> str:
        head = (self.target, self.protected, "crops with labels", "partners",
                "exported originals", "exported partners", "exported")  # fmt: skip
        rows = [list(row.values()) for row in self.counts()]
        return (
            f"{sum(self.plan.after.values())} images, selected by: {self.selection}.\n\n"
            f"{_table(head, rows)}"
        )

    def _labels(self) -> str:
        return (
            f"- target, {self.target}: {self.target_rule}\n"
            f"- protected, {self.protected}: {self.protected_rule}"
        )

    def _making(self) -> str:
        lost = ", ".join(f"{status} {count}" for status, count in sorted(self.rejects.items()))
        return (
            f"Crops were inverted by {self.method}. A partner's latent has the same distance to "
            f"the boundary of {self.target} as its crop and the opposite distance to that of "
            f"{self.protected} (Ramaswamy et al. 2021, https://arxiv.org/abs/2012.01469). Its "
            f"image was scored again and kept only if both labels were as intended.\n\n"
            f"Crops without a partner: {lost or 'none'}."
        )

    def _models(self) -> str:
        names = ("name", "kind", "source", "sha256", "licence", "provenance")
        rows = [[card.get(name, NOT_STATED) for name in names] for card in self.cards]
        return _table(names, rows) if rows else NOT_STATED


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    words = {True: "yes", False: "no"}
    text = words[value] if isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
