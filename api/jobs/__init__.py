"""Jobs and JobRuns over REST (docs/contract.md, section 17)."""
