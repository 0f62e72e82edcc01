"""API keys that are made over REST and on the pages, and kept in the artifact store."""
