"""The embedded stack of `callboard dev`: Temporal's dev server, the api and a worker, started and kept alive."""
