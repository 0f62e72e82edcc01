"""Activities that workflows call. They are thin: each turns its input into calls to Machines, security and storage."""
