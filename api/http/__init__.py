"""What is HTTP's: keys, errors, bodies, connections, middleware, rate limits, long polls and the OpenAPI page."""
