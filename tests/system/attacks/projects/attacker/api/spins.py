"""Has a page that never ends: it spins, floods the console, or opens windows and dialogs without end."""

PAGES = {
    "spin": "for (;;) {}",
    "console": "for (;;) console.log('x'.repeat(10000))",
    "requests": "for (let n = 0; ; n++) fetch('/' + n)",
    "memory": "const held = []; for (;;) held.push(new Array(1e6).fill(Math.random()))",
    "dialogs": "for (;;) alert(1)",
    "navigation": "setInterval(() => { location.href = '/?' + Math.random() }, 1)",
    "workers": "for (let n = 0; n < 500; n++) new Worker(URL.createObjectURL(new Blob(['for (;;) {}'])))",
}


async def automation(page, params):
    await page.context.route("**/*", lambda route: route.fulfill(body="<body>x</body>", content_type="text/html"))
    await page.goto("http://attacker.test/")
    await page.evaluate(PAGES[params["how"]])
    await page.wait_for_event("close", timeout=0)
