"""Spatially-adaptive inversion (Parmar et al. 2022), by optimisation and by encoders."""
