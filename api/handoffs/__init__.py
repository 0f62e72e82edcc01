"""Handoffs: Attempts that ask a person (docs/contract.md, section 22)."""
