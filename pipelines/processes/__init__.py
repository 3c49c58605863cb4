"""Processes that run recipes: their DAGSTER_HOME, their locks and how they end."""
