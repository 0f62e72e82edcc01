"""What user code may ask of the browser, and of Playwright's driver.

In a CDP session of a page, user code may send commands of the browser's protocol that end with the page. All that is
not named here may reach the whole browser, such as its screens, cookies and permissions, and stay there for later
Attempts. So a command that a newer browser brings is refused until it is named.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from callboard_runtime.page_events import PageEvents
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ProxySettings

from .browser import WarmBrowser
from .evidence import Evidence
from .playwright_wire import is_inside

_DOWNLOADED_WITHIN = 0.2
"""Seconds that downloads get to be kept when a context closes, which ends those that have not ended."""
_TRACING = "Callboard traces the Attempt itself, and saves its trace where its other evidence is. Remove this call."
_BROWSER_TRACING = (
    "An automation cannot trace the whole browser, which would go on in later Attempts. Callboard traces the Attempt"
    " itself. For a performance trace, send `Tracing.start` in a CDP session of the browser."
)
_SERVING = "An automation cannot offer its browser to others. Connect over CDP in the project's hook instead."
_ZIPPING = "An automation cannot have Playwright's driver pack or unpack files. Record a HAR to a name without `.zip`."
REFUSED = {
    **dict.fromkeys(("tracingStart", "tracingStartChunk", "tracingStopChunk", "tracingStop"), _TRACING),
    **dict.fromkeys(("tracingStarted", "traceDiscarded"), _TRACING),
    **dict.fromkeys(("startTracing", "stopTracing"), _BROWSER_TRACING),
    **dict.fromkeys(("startServer", "stopServer", "connect"), _SERVING),
    **dict.fromkeys(("newContextForReuse", "disconnectFromReusedContext", "killForTests"), _SERVING),
    **dict.fromkeys(("zip", "harUnzip"), _ZIPPING),
}
"""Methods of Playwright's protocol that are refused, whatever object they are called on, and why."""
_OUTSIDE = (
    "Playwright's driver can write files in the automation's own folder only, and {path} is not there. Name an absolute"
    " path below the working folder, or below the folder that TMPDIR names."
)
"""Why the driver does not write elsewhere. It would be lost to the automation, as the driver has a box of its own; and
in the profile of the browser there, it would stay for later Attempts."""

_DOMAINS = frozenset(
    {
        *("Accessibility", "Animation", "Audits", "CSS", "CacheStorage", "Console", "DOM", "DOMDebugger"),
        *("DOMSnapshot", "DOMStorage", "Debugger", "DeviceOrientation", "EventBreakpoints", "Fetch", "HeapProfiler"),
        *("IO", "IndexedDB", "Input", "Inspector", "LayerTree", "Log", "Media", "Overlay", "Performance"),
        *("PerformanceTimeline", "Profiler", "Runtime", "ServiceWorker", "WebAudio", "WebAuthn"),
    }
)
"""Domains that are about one page, its processes and the storage of its context alone."""
_COMMANDS = {
    "Browser": ("getVersion",),
    "Emulation": (
        *("clearDeviceMetricsOverride", "clearDevicePostureOverride", "clearDisplayFeaturesOverride"),
        *("clearGeolocationOverride", "clearIdleOverride", "getOverriddenSensorInformation", "getScreenInfos"),
        *("resetPageScaleFactor", "setAutoDarkModeOverride", "setAutomationOverride", "setCPUThrottlingRate"),
        *("setDataSaverOverride", "setDefaultBackgroundColorOverride", "setDeviceMetricsOverride"),
        *("setDevicePostureOverride", "setDisabledImageTypes", "setDisplayFeaturesOverride"),
        *("setDocumentCookieDisabled", "setEmitTouchEventsForMouse", "setEmulatedMedia", "setEmulatedOSTextScale"),
        *("setEmulatedVisionDeficiency", "setFocusEmulationEnabled", "setGeolocationOverride"),
        *("setHardwareConcurrencyOverride", "setIdleOverride", "setLocaleOverride", "setPageScaleFactor"),
        *("setPressureSourceOverrideEnabled", "setPressureStateOverride", "setSafeAreaInsetsOverride"),
        *("setScriptExecutionDisabled", "setScrollbarsHidden", "setSensorOverrideEnabled"),
        *("setSensorOverrideReadings", "setTimezoneOverride", "setTouchEmulationEnabled", "setUserAgentOverride"),
        *("setVirtualTimePolicy", "setVisibleSize"),
    ),
    "Memory": ("forciblyPurgeJavaScriptMemory", "getDOMCounters"),
    "Network": (
        *("clearBrowserCache", "clearBrowserCookies", "deleteCookies", "disable", "emulateNetworkConditions"),
        *("emulateNetworkConditionsByRule", "enable", "getAllCookies", "getCertificate", "getCookies"),
        *("getRequestPostData", "getResponseBody", "getSecurityIsolationStatus", "loadNetworkResource"),
        *("overrideNetworkState", "replayXHR", "searchInResponseBody", "setAttachDebugStack", "setBlockedURLs"),
        *("setBypassServiceWorker", "setCacheDisabled", "setCookie", "setCookies", "setExtraHTTPHeaders"),
        *("setUserAgentOverride", "streamResourceContent"),
    ),
    "Page": (
        *("addCompilationCache", "addScriptToEvaluateOnNewDocument", "bringToFront", "captureScreenshot"),
        *("captureSnapshot", "clearCompilationCache", "close", "crash", "createIsolatedWorld", "disable", "enable"),
        *("getAdScriptAncestry", "getAppManifest", "getFrameTree", "getInstallabilityErrors", "getLayoutMetrics"),
        *("getNavigationHistory", "getOriginTrials", "getPermissionsPolicyState", "getResourceContent"),
        *("getResourceTree", "handleJavaScriptDialog", "navigate", "navigateToHistoryEntry", "printToPDF"),
        *("produceCompilationCache", "reload", "removeScriptToEvaluateOnNewDocument", "resetNavigationHistory"),
        *("screencastFrameAck", "searchInResource", "setBypassCSP", "setDocumentContent", "setFontFamilies"),
        *("setFontSizes", "setInterceptFileChooserDialog", "setLifecycleEventsEnabled", "setWebLifecycleState"),
        *("startScreencast", "stopLoading", "stopScreencast"),
    ),
    "Security": ("disable", "enable"),
    "Target": ("getTargetInfo",),
}
"""Commands of domains that also have some for the whole browser."""
OF_PAGES = frozenset(f"{domain}.{name}" for domain, names in _COMMANDS.items() for name in names)
_REFUSED_COMMAND = (
    "`{command}` is not known to end with this page, and may change the whole browser, which later Attempts use. Use"
    " Playwright's own call for it, if there is one. Or open a CDP session of the browser first, by"
    " `new_browser_cdp_session` or, in TypeScript, `newBrowserCDPSession`: from then on, the Attempt may send"
    " any command, in sessions of pages, too, and its browser is not used again."
)


class RelayPolicy:
    """Decides what the process of user code may ask of the browser, for the Attempt that it gets."""

    def __init__(self, browser: WarmBrowser, page_events: PageEvents) -> None:
        self._browser = browser
        self._page_events = page_events
        self.evidence = Evidence()
        self.proxy: ProxySettings | None = None
        """The Attempt's proxy. Contexts that user code opens itself go through it, too."""
        self.root: Path | None = None
        self.commands_browser = False
        """Whether user code may command the whole browser by its own protocol. It is not used again then."""

    def refusal(self, method: str, params: dict[str, Any]) -> str | None:
        """Say why a call must not be made; None if it may be made."""
        if method in REFUSED:
            return REFUSED[method]
        if method == "send" and not self.commands_browser:
            return refusal_of_command(str(params["method"]))
        root = self.root
        outside = [path for path in _written(method, params) if root and not is_inside(path, str(root.parent))]
        return _OUTSIDE.format(path=outside[0]) if outside else None

    def options_of_context(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the Attempt's proxy, unless user code has named another."""
        return options if self.proxy is None or options.get("proxy") else {**options, "proxy": self.proxy}

    async def context_opened(self, guid: str) -> None:
        """Watch and trace a context that user code has opened, before user code has it."""
        with contextlib.suppress(PlaywrightError, TimeoutError):  # the browser is gone, which user code will notice
            if (context := await self._browser.context(guid)) is not None:
                self._page_events.watch(context)
                await self.evidence.add_context(context)

    async def context_closing(self, guid: str) -> None:
        """Save the trace of a context that user code closes, and what its pages have downloaded."""
        await self.evidence.save_context(guid)
        if (downloads := self._page_events.downloads) is not None:
            await downloads.wait(_DOWNLOADED_WITHIN)

    def stack(self, call: dict[str, Any]) -> None:
        """Add the stack of a call to the traces, with the frames of the project: their sources will be read."""
        if self.root is None or not self.evidence.traces:
            return
        inside = f"{self.root}/"
        frames = [frame for frame in call["stack"] if os.path.normpath(frame["file"]).startswith(inside)]
        if frames:
            self._browser.add_stack({"id": call["id"], "stack": frames})


def refusal_of_command(command: str) -> str | None:
    """Say why a command must not be sent in a CDP session of a page; None if it may be sent."""
    if command in OF_PAGES or command.partition(".")[0] in _DOMAINS:
        return None
    return _REFUSED_COMMAND.format(command=command)


def _written(method: str, params: dict[str, Any]) -> list[str]:
    """Return the paths in a call to the driver at which that would write."""
    named: list[Any] = []
    if method == "saveAs":
        named = [params.get("path")]
    elif method == "harStart":
        options: dict[str, Any] = params.get("options") or {}
        named = [options.get("harPath"), options.get("resourcesDir")]
    elif method == "newContext":
        video: dict[str, Any] = params.get("recordVideo") or {}
        named = [video.get("dir")]
    return [path for path in named if isinstance(path, str)]
