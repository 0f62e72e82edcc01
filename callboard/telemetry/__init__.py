"""What the processes of Callboard tell about themselves: logs, traces, metrics."""
