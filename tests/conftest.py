"""Fixtures of all tests."""

from collections.abc import Iterator

import pytest

from invertory.resources import redaction


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """Secrets are registered for the process: those of one test must not mask texts of the next."""
    yield
    redaction._secrets.clear()
    redaction._places.clear()
    redaction._pattern.cache_clear()
