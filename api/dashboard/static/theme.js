// Set the theme that was chosen in this browser, if any, before anything is drawn.
(() => {
  try {
    const chosen = localStorage.getItem("callboard-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch { /* the storage is disabled, so the system's theme applies */ }
})();
