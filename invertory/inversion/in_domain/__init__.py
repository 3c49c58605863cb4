"""In-Domain GAN Inversion (Zhu et al. 2020): its two encoders and its optimisation."""
