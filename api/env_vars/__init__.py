"""Calls about environment variables of projects and of the workspace."""
