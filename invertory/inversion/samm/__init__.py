"""SAMM's inversion (Yang et al. 2023)."""
