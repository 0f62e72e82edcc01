"""The page of all projects, the page of one project, and the page of its versions."""
