"""`make bench-fleet`: what a fleet of workers does on one host, and what each part of it costs."""
