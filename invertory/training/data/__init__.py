"""Training data: batches, augmentation, digests."""
