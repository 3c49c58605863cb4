"""Images for trainers: batches, augmentation, digests."""
