"""Machines: the slots that execute Attempts, each a supervisor with one warm browser that has a keeper above it."""
