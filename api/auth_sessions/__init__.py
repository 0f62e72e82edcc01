"""Stored AuthSessions: create, update, validate, import, delete, and the results of these operations."""
