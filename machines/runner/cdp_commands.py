"""What user code may send in a CDP session of a page: commands of the browser's protocol that end with the page.

All that is not named here may reach the whole browser, such as its screens, cookies and permissions, and stay there for
later Attempts. So a command that a newer browser brings is refused until it is named.
"""

from __future__ import annotations

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
_REFUSED = (
    "`{command}` is not known to end with this page, and may change the whole browser, which later Attempts use. Use"
    " Playwright's own call for it, if there is one. Or call `browser.new_browser_cdp_session()` first: from then"
    " on, the Attempt may send any command, in sessions of pages, too, and its browser is not used again."
)


def refusal_of_command(command: str) -> str | None:
    """Say why a command must not be sent in a CDP session of a page; None if it may be sent."""
    if command in OF_PAGES or command.partition(".")[0] in _DOMAINS:
        return None
    return _REFUSED.format(command=command)
