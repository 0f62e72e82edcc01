"""`callboard codes push`: a code from the command line, or a message from standard input."""

from callboard.security import seal_context
from callboard.security.addressees import addressee
from tests.support.api_in_process import Api
from tests.support.commands import Commands
from tests.support.constants import WORKSPACE


async def test_a_code_is_pushed_as_it_is_given_or_read(api: Api, cli: Commands):
    await cli.said("codes", "push", "+49151", "493027", "-p", "shop")
    await cli.said("codes", "push", "anna@example.com", "-p", "shop", text="493027 is your code.\n")
    ring = api.services.ring
    assert [
        (project, to, ring.open(code.content, bound_to=seal_context.code(WORKSPACE, "shop", code.id)))
        for project, to, code in api.inboxes.pushed
    ] == [
        ("shop", addressee(ring, WORKSPACE, "shop", to), content)
        for to, content in (("+49151", "493027"), ("anna@example.com", "493027 is your code.\n"))
    ]
