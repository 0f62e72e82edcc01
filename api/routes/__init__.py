"""The routes, grouped by what they are about. Each is a few lines over `api.service`."""
