"""The progress of a stage, and its use of memory."""
