"""The worker process: its workers for Temporal, put together from the rooms below."""
