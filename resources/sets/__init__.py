"""Exported sets: written beside the current one, verified, then made current in one step.

    sets/<method>/_versions/<key>/<format>/...      files, and manifest.json for each format
    sets/<method>/_versions/<key>/set.json          key and manifests with their digests
    sets/<method>/current     -> _versions/<key>    a relative link, replaced in one step
    sets/<method>/<format>    -> current/<format>   where users find a set

Object stores have no links. There each writer has a folder of its own,
`_versions/<key>-<random>`, and `sets/<method>/current.json` names the current one. A set that was
replaced stays for its readers until the one after it is an hour old. Sets of earlier versions lie
in `sets/<method>/<format>` itself.
"""

from invertory.resources.sets.records import Fault
from invertory.resources.sets.versions import SetVersions

__all__ = ["Fault", "SetVersions"]
