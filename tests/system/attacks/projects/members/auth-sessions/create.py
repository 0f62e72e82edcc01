from bank import open_bank


async def create(page, params=None, **_kwargs):
    await open_bank(page)
    await page.evaluate(
        "(secret) => { document.cookie = `login=${secret}; max-age=9999`; localStorage.setItem('login', secret); }",
        params["password"],
    )
