"""Keep large and durable data in the artifact store (bundles, parameters, results, records), and define its keys."""
