"""The pages of a project's Jobs, of one Job, and of one JobRun."""
