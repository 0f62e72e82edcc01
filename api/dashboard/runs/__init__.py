"""The list of Runs, and the page of one Run."""
