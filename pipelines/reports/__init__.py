"""What the command line prints about runs, tables and networks."""
