"""`callboard doctor`: checks that Callboard has all that it needs here, and says how to fix what is missing."""
