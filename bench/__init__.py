"""Benchmarks: `make bench` compares Callboard with the plain loop and with bare Temporal, in one run on one machine."""
