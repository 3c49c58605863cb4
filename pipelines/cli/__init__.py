"""The command line, `invertory`."""
