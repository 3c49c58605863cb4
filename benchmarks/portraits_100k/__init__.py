"""Speed and memory of the chain on 100,000 portraits."""
