"""Starts of Runs: what is checked, sealed and stored before a Run is there, for the api and for bulk reruns."""
