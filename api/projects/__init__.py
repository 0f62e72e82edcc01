"""Deployed projects."""
