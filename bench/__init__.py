"""Benchmarks, each with a target of `make`.

`bench` compares Callboard with the plain loop and with bare Temporal, in one run on one machine; `bench-lists` asks for
lists of many Runs, and `bench-waits` waits for many; `bench-fleet` measures several workers and many projects; `soak`
looks for leaks.
"""
