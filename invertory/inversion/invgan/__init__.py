"""InvGAN (Ghosh et al. 2021): its encoder, on whole images and on tiles."""
