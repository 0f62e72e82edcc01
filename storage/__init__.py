"""The artifact store: bulky and durable things (bundles, parameters, results, records), and where each lies."""
