"""What the activities of JobRuns do: lock, prepare, execute items piece by piece, and wait for logins."""
