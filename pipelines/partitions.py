"""Shards as Dagster partitions: one dynamic key a shard, named as in the store."""

import dagster as dg


def partitions_name(recipe: str) -> str:
    """The name under which the instance keeps the recipe's shard keys."""
    return f"{recipe}_shards"


def shards_of(recipe: str) -> dg.DynamicPartitionsDefinition:
    """The shards of a recipe's collection; keys are added as images are dealt."""
    return dg.DynamicPartitionsDefinition(name=partitions_name(recipe))
