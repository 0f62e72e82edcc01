"""The api service: FastAPI over Temporal, deployed projects and the artifact store. It uses no type of the SDK."""
