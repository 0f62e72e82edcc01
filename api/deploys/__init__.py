"""Deploys of projects that are sent over REST."""
