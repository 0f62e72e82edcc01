"""Deliveries of results to sinks, and the sinks themselves."""
