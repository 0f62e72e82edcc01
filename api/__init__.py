"""The api service: FastAPI over `temporal`, `projects` and the artifact store. It uses no type of the Temporal SDK."""
