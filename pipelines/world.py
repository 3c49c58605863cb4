"""The resources by default: the one place where the store, the model store and the GPU are made.

Everything else takes them as parameters, so that a configured cache or `offline` holds everywhere.
"""

from __future__ import annotations

import os
from typing import Any

from invertory.pipelines.progress.reporting import Reporting
from invertory.resources.addresses import shown
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.tables import Tables


def tables() -> Tables:
    """The store at `INVERTORY_STORE` (default: ./store)."""
    root = os.environ.get("INVERTORY_STORE", "store")
    # Dagster records the configuration of resources: credentials stay in the environment
    return Tables(root=root if shown(root) == root else "${INVERTORY_STORE}")


def model_store() -> ModelStore:
    """Weights in `INVERTORY_CACHE`, offline where `INVERTORY_OFFLINE` says so."""
    return ModelStore()


def resources() -> dict[str, Any]:
    """By the keys under which assets require them; a test or a cluster passes its own."""
    return {
        "tables": tables(),
        "models": model_store(),
        "gpu": Gpu(),
        "reporting": Reporting(),
    }
