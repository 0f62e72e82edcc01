"""The published wire: what clients send and what they are answered. Strict, camelCase, closed enums.

Names, bounds and defaults are those of the contract (sections 5, 6 and 11); what it leaves open is decided in the
design. `Rule` in a docstring means a rule of the contract.
"""
