"""Use Temporal as a client: connect, name things, and read what a Run's workflow says about it."""
