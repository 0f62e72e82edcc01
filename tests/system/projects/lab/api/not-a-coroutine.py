def automation(page, params=None, **_kwargs):
    return 1
