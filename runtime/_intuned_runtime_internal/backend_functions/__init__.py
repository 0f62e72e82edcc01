"""What the platform does for helpers."""
