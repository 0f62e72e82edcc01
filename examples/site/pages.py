"""The shop's pages: plain semantic HTML, one function each."""

from __future__ import annotations

from html import escape

from examples.site.products import PAGES, Product, page_of

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
nav a { margin-right: 1rem; }
th, td { padding-right: 1.5rem; text-align: left; }
.products { list-style: none; padding: 0; }
.products li { display: flex; justify-content: space-between; border-bottom: 1px solid #ddd; padding: .3rem 0; }
"""


def page(title: str, body: str) -> str:
    """A whole page around `body`, which is HTML; `title` is text."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)} · Callboard Shop</title>
<style>{STYLE}</style>
</head>
<body>
<header><nav><a href="/">Home</a><a href="/products">Products</a><a href="/orders">Orders</a></nav></header>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def home() -> str:
    """What there is on this site."""
    return page(
        "Welcome",
        """<ul>
<li><a href="/products">Products</a>, on pages</li>
<li><a href="/slow?seconds=3">A slow page</a></li>
<li><a href="/flaky?key=home&amp;failures=2">A flaky page</a>: it fails twice, then works</li>
<li><a href="/download/catalogue.csv">Download the catalogue</a></li>
<li><a href="/orders">Your orders</a>, for members</li>
<li><a href="/visitor">Which way you came</a></li>
</ul>""",
    )


def visitor(via: str | None) -> str:
    """Which proxy a visitor came through, as its header `Via` says."""
    return page("Visitor", f"<p>You came through: <output>{escape(via or 'no proxy')}</output></p>")


def products(number: int) -> str:
    """One page of the list of products."""
    items = "\n".join(_item(product) for product in page_of(number))
    links = [f'<a rel="prev" href="/products?page={number - 1}">Previous page</a>'] if number > 1 else []
    if number < PAGES:
        links.append(f'<a rel="next" href="/products?page={number + 1}">Next page</a>')
    return page(
        "Products",
        f"""<ul class="products" aria-label="Products">
{items}
</ul>
<nav aria-label="Pages"><span>Page {number} of {PAGES}</span> {" ".join(links)}</nav>""",
    )


def _item(product: Product) -> str:
    return (
        f'<li data-id="{product.id}"><a href="/products/{product.id}">{escape(product.name)}</a>'
        f' <data class="price" value="{product.price:.2f}">€ {product.price:.2f}</data></li>'
    )


def details(product: Product) -> str:
    """One product."""
    return page(
        product.name,
        f"""<article data-id="{product.id}">
<dl>
<dt>Price</dt><dd><data class="price" value="{product.price:.2f}">€ {product.price:.2f}</data></dd>
<dt>In stock</dt><dd><data class="stock" value="{product.stock}">{product.stock} pieces</data></dd>
</dl>
<p class="description">{escape(product.name)}, number {product.id} of our collection, made to be kept.</p>
</article>""",
    )
