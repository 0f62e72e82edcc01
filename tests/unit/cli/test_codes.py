"""`callboard codes push`: a code from the command line, or a message from standard input."""

from tests.support.fake_api import FakeApi


def test_a_code_is_pushed_as_it_is_given_or_read(api: FakeApi):
    api.answers = [(204, None), (204, None)]
    api.callboard("codes", "push", "+49151", "493027", "-p", "shop")
    api.callboard("codes", "push", "anna@example.com", "-p", "shop", text="493027 is your code.\n")
    assert [asked.path.rpartition("projects/")[2] for asked in api.asked] == ["shop/codes"] * 2
    assert [asked.body for asked in api.asked] == [
        {"to": "+49151", "content": "493027"},
        {"to": "anna@example.com", "content": "493027 is your code.\n"},
    ]
