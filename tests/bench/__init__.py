"""Measurements, one target of `make` each.

`bench` compares Callboard with the plain loop and with bare Temporal, in one run on one machine; `bench-fleet` measures
several workers and many projects; `soak` looks for leaks.
"""
