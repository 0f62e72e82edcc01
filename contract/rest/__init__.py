"""The published wire: what clients send and what they are answered. Strict, camelCase, closed enums.

Names, bounds and defaults are those of the contract (sections 5, 6 and 11); where it is silent, DESIGN section 6 has
decided.
"""
