"""Jobs and JobRuns: their calls and their pages (docs/contract.md, section 17)."""
