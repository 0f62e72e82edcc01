"""The pages of environment variables: of a project, and of the workspace."""
