"""The pages that people see in a browser. They are rendered on the server, each also as JSON, and use little script."""
