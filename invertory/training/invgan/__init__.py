"""The trainer of InvGAN."""
