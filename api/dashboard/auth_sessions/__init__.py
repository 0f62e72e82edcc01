"""The page of a project's AuthSessions."""
