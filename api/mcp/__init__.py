"""The Model Context Protocol: agents call APIs of projects as tools (docs/contract.md, section 23)."""
