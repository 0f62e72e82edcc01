"""The routes, grouped by subject. Each route is a few lines that call the modules of `api`."""
