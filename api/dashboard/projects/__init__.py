"""The page of all projects, and the page of one project."""
