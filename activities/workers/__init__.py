"""Hosting the Temporal workers of projects, and what one worker process keeps for itself."""
