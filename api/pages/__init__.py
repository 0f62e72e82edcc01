"""The pages: what people see of Callboard in a browser. Rendered here, with JSON beside each, and little script."""
