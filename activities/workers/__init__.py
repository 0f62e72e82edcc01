"""Host the Temporal workers of projects, and keep the files and connections of one worker process."""
