"""Callboard, beneath its services: what `api/`, `workflows/`, `activities/` and `worker.py` are made of."""
