"""Benchmarks, each with a target of `make`.

`bench` compares Callboard with the plain loop and with bare Temporal, in one run on one machine; `bench-lists` asks for
lists of many Runs; `soak` looks for leaks.
"""
