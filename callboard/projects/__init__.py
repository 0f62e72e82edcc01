"""Project folders: reading their settings and APIs, publishing them as versions, and getting versions back."""
