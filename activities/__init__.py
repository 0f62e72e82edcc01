"""What the workflows call. Thin: a request becomes a call on Machines, storage and security, and an outcome."""
