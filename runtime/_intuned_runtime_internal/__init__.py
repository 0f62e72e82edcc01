"""Where `intuned_browser` looks for the platform that it runs on; nothing here is for user code."""
