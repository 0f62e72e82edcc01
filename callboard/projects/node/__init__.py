"""Projects in TypeScript: what they declare, how they are compiled, and the packages that they are installed with."""
