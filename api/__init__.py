"""The api service: FastAPI over the engine, the projects and the artifact store. No Temporal type is used here."""
