"""The example site: a small shop with pages, a slow page, a flaky page, a download and accounts. Nothing external."""
