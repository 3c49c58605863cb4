"""Pivotal tuning (Roich et al. 2021)."""
