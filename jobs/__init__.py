"""Jobs: their definitions, their payloads, and what becomes of both when a JobRun executes them."""
