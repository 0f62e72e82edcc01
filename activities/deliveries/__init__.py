"""Send Deliveries: build what is sent, send it, and record every try."""
