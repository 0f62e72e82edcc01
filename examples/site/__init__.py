"""The example site: a small shop with pages, a slow page, a flaky page and a download. Nothing external."""
