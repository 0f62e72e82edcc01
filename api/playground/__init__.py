"""The Playground, the page on which people start a Run by hand."""
