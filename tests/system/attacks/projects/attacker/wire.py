"""Speaks with Playwright's driver by raw messages on this process's own connection, past Playwright's API."""

import asyncio
import itertools

_NUMBERS = itertools.count(50_000_000)


class Wire:
    def __init__(self, page):
        self.connection = page._impl_obj._connection
        self._answers = {}
        self._dispatch = self.connection.dispatch
        self.connection.dispatch = self._heard

    def _heard(self, message):
        if (waiting := self._answers.pop(message.get("id"), None)) is not None:
            waiting.set_result(message)
        else:
            self._dispatch(message)

    def objects(self, kind):
        """The ids of all objects of a type, such as `BrowserType`."""
        return [guid for guid, found in self.connection._objects.items() if type(found).__name__ == kind]

    async def ask(self, guid, method, params, within=4):
        """Send a call, and return its result; raise ValueError with the reason if it is refused."""
        number = next(_NUMBERS)
        waiting = self._answers[number] = asyncio.get_running_loop().create_future()
        self.connection.onmessage(
            {
                "id": number,
                "guid": guid,
                "method": method,
                "params": params,
                "metadata": {"wallTime": 0, "internal": True},
            }
        )
        told = await asyncio.wait_for(waiting, within)
        if "error" in told:
            raise ValueError(str(told["error"])[:300])
        return told.get("result", {})
