"""The published wire: what clients send and what they are answered. Strict, camelCase, closed enums.

Names, bounds and defaults are described field by field from docs/contract.md, section 5, on.
"""
