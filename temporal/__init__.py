"""The Temporal side of clients: connection, names, and what a Run's workflow says about it."""
