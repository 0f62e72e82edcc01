"""The pages around an account: signing in, the code, the orders."""

from __future__ import annotations

from html import escape

from examples.site.accounts import Account
from examples.site.orders import PAGES, Order, page_of
from examples.site.pages import page

_REMEMBER = """<script>
const remember = (storage, key, next) => {
  storage.setItem(key, next(storage.getItem(key)));
  document.getElementById(key).value = storage.getItem(key);
};
const made = (kind) => (old) => old ?? kind + "-" + Math.random().toString(36).slice(2);
remember(localStorage, "cart", made("cart"));
remember(localStorage, "opened", (old) => Number(old) + 1);
remember(sessionStorage, "visit", made("visit"));
</script>"""


def sign_in(csrf: str, problem: str | None = None) -> str:
    """The first step of a login."""
    return page(
        "Sign in",
        f"""{_alert(problem)}<form method="post" action="/login">
<input type="hidden" name="csrf" value="{escape(csrf)}">
<p><label>User <input name="user" autocomplete="username" required></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Sign in</button></p>
</form>""",
    )


def code(csrf: str) -> str:
    """The second step, for accounts that have it."""
    return page(
        "One-time code",
        f"""<p>We have sent a code to your phone. It works once.</p>
<form method="post" action="/login/code">
<input type="hidden" name="csrf" value="{escape(csrf)}">
<p><label>Code <input name="code" inputmode="numeric" autocomplete="one-time-code" required></label></p>
<p><button>Continue</button></p>
</form>""",
    )


def refused(problem: str) -> str:
    """A login that ends here."""
    return page("Not signed in", f'{_alert(problem)}<p><a href="/login">Sign in</a></p>')


def orders(account: Account, number: int) -> str:
    """One page of a member's orders, and what the shop keeps in the browser: cart, visit, how often it was opened."""
    rows = "\n".join(_row(order) for order in page_of(account.user, number))
    following = f' <a rel="next" href="/orders?page={number + 1}">Next page</a>' if number < PAGES else ""
    return page(
        "Your orders",
        f"""<p>Signed in as <strong class="member">{escape(account.name)}</strong>.</p>
<table aria-label="Orders">
<thead><tr><th>Number</th><th>Day</th><th>Product</th><th>Pieces</th><th>Total</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<nav aria-label="Pages"><span>Page {number} of {PAGES}</span>{following}</nav>
<dl>
<dt>Cart</dt><dd><output id="cart"></output></dd>
<dt>Visit</dt><dd><output id="visit"></output></dd>
<dt>Opened in this browser</dt><dd><output id="opened"></output> times</dd>
</dl>
<form method="post" action="/logout"><button>Sign out</button></form>
{_REMEMBER}""",
    )


def _alert(problem: str | None) -> str:
    return "" if problem is None else f'<p role="alert">{escape(problem)}</p>\n'


def _row(order: Order) -> str:
    return (
        f'<tr data-number="{order.number}"><td>{order.number}</td>'
        f'<td><time datetime="{order.day}">{order.day:%d.%m.%Y}</time></td>'
        f'<td><a href="/products/{order.product.id}">{escape(order.product.name)}</a></td>'
        f"<td>{order.pieces}</td>"
        f'<td><data class="price" value="{order.total:.2f}">€ {order.total:.2f}</data></td></tr>'
    )
