"""The Jobs and AuthSessions that are files of a project, and what exists of them."""
