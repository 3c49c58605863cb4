"""The trainer of StyleGAN2."""
