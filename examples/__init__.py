"""Runnable examples: project folders in `projects/`, and `site`, the small shop on loopback that they browse."""
