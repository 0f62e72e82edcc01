"""Runs: start, result, cancel, rerun, lists, and all that is known of one Run."""
