// Behaviour of the pages beyond what HTML does. Every page also works without it, but is then not updated by itself.
"use strict";

const announce = (text) => { document.getElementById("announcement").textContent = text; };

// Show times as people say them, and the exact one, in the reader's time zone, on hover. There is one clock: 24 hours.
const clock24 = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", ...clock24 });
const ago = new Intl.RelativeTimeFormat("en", { style: "short" });
function timeText(at) {
  const seconds = (at - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  if (size < 60) return ago.format(Math.trunc(seconds), "second");
  if (size < 3600) return ago.format(Math.trunc(seconds / 60), "minute");
  if (size < 86400) return ago.format(Math.trunc(seconds / 3600), "hour");
  return size < 14 * 86400 ? ago.format(Math.trunc(seconds / 86400), "day") : exact.format(at);
}
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const text = "exact" in time.dataset ? exact.format(at) : timeText(at);
    if (time.textContent !== text) time.textContent = text;
    time.title ||= full.format(at);
  }
  for (const zone of root.querySelectorAll("[data-zone]")) zone.textContent = full.resolvedOptions().timeZone;
}

// Times in forms are the reader's, and those in addresses are UTC.
function localFields(root) {
  for (const field of root.querySelectorAll("[data-utc]")) {
    if (field.value) {
      const at = new Date(`${field.value}Z`);
      field.value = new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    }
    field.form.addEventListener("formdata", ({ formData }) => {
      if (field.value) formData.set(field.name, new Date(field.value).toISOString().slice(0, 16));
    });
  }
}

function theme() {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("callboard-theme", root.dataset.theme); } catch { /* the storage is disabled, so the theme applies to this page only */ }
    announce(`${dark ? "Light" : "Dark"} theme`);
  });
}

// A browser that follows a link from another site does not send the cookie, though its user may be signed in. So the
// sign-in page asks again by itself, and goes on if they are.
async function alreadySignedIn() {
  const form = document.querySelector("[data-next]");
  if (!form || document.querySelector(".problem")) return;
  const answer = await fetch("/sign-in", { redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect" && !document.getElementById("key").value) location.replace(form.dataset.next);
}

// Show how long something has taken that has not ended yet.
function runningTimes(root) {
  for (const since of root.querySelectorAll("[data-since]")) {
    const seconds = Math.max(0, (Date.now() - Date.parse(since.dataset.since)) / 1000);
    since.textContent = seconds < 60 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  }
}

// Keep the page up to date: it is fetched again and again, and its parts that are marked as live replace the old ones.
let tag = null;
const texts = new Map();  // HTML of the live parts as it was received, by their ids
function noteTexts(root) {
  for (const part of root.querySelectorAll("[data-live]")) texts.set(part.id, part.innerHTML);
}
function isBeingFilledIn(part) {
  return part.querySelector("[data-live-view].held, :popover-open") !== null || [...part.querySelectorAll("form[method=post] input:not([type=hidden],[type=checkbox])")].some((field) => field === document.activeElement || field.value !== field.defaultValue);
}
function refresh(fresh) {
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = document.getElementById(part.id);
    if (!old) continue;
    const text = part.innerHTML;
    if (texts.get(part.id) === text) continue;
    if (isBeingFilledIn(old)) {  // what is typed must neither be lost nor go into another form
      tag = null;
      continue;
    }
    texts.set(part.id, text);
    localTimes(part);
    const chosen = new Set([...old.querySelectorAll("input:checked")].map((box) => box.value));
    const closed = [...old.querySelectorAll("details")].map((each) => each.open);
    const focused = old.contains(document.activeElement) ? [...old.querySelectorAll("a,button,input,summary")].indexOf(document.activeElement) : -1;
    for (const box of part.querySelectorAll("input[name=run]")) box.checked = chosen.has(box.value);
    const details = part.querySelectorAll("details");
    if (details.length === closed.length) details.forEach((each, index) => { each.open = closed[index]; });
    const place = document.adoptNode(part);
    for (const view of old.querySelectorAll("[data-live-view]")) view.dispatchEvent(new Event("leave"));
    old.replaceWith(place);
    if (focused >= 0) place.querySelectorAll("a,button,input,summary")[focused]?.focus();
    enhance(place);
  }
  for (const list of fresh.querySelectorAll("[data-live-children]")) {
    const old = document.getElementById(list.id);
    for (const child of [...list.children]) {
      if (document.getElementById(child.id)) continue;
      noteTexts(child);
      localTimes(child);
      old.append(document.adoptNode(child));
      enhance(child);
    }
  }
}
async function follow() {
  const every = [...document.querySelectorAll("[data-follow]")].map((part) => Number(part.dataset.follow));
  if (!every.length) return;
  setTimeout(async () => {
    if (!document.hidden) {
      try {
        const headers = { accept: "text/html", ...(tag ? { "if-none-match": tag } : {}) };
        const answer = await fetch(location.href, { headers, redirect: "error" });
        if (answer.status === 200) {
          tag = answer.headers.get("etag");
          const before = document.querySelector("h1 + .status")?.textContent;
          refresh(new DOMParser().parseFromString(await answer.text(), "text/html"));
          const now = document.querySelector("h1 + .status")?.textContent;
          if (now && now !== before) announce(`The ${document.querySelector("[data-named]")?.dataset.named ?? "Run"} is ${now}`);
        }
      } catch { /* the page is fetched again in a moment */ }
    }
    follow();
  }, Math.min(...every));
}

// Show what is wrong with the JSON in a field while it is being written.
function checkJson(area) {
  const problem = area.parentElement.querySelector("[data-json-problem]");
  const format = document.querySelector(`[data-format="${area.id}"]`);
  const findProblem = () => {
    if (!area.value.trim()) return "";
    try { JSON.parse(area.value); return ""; } catch (error) { return `Not JSON: ${error.message}`; }
  };
  const check = () => {
    const wrong = findProblem();
    area.setCustomValidity(wrong);
    problem.textContent = wrong;
    problem.hidden = !wrong;
    if (wrong) area.setAttribute("aria-invalid", "true"); else area.removeAttribute("aria-invalid");
    if (format) format.disabled = Boolean(wrong);
  };
  let timer;
  area.addEventListener("input", () => {
    clearTimeout(timer);
    // The message goes at once when all is well: if it went when a button is pressed, the button would move away.
    if (!findProblem()) { check(); return; }
    area.setCustomValidity("");
    timer = setTimeout(check, 400);
  });
  area.addEventListener("change", check);
  if (format) {
    format.hidden = false;
    format.addEventListener("click", () => { area.value = JSON.stringify(JSON.parse(area.value || "{}"), null, 2); check(); });
  }
}

// Let the fields of the parameters edit their JSON, which is what is sent. A field that is empty is left out.
function parameterFields(form) {
  const area = form.elements.parameters;
  const fields = [...form.querySelectorAll("[data-parameter]")];
  const read = () => {
    try { const value = JSON.parse(area.value || "{}"); return value && typeof value === "object" && !Array.isArray(value) ? value : null; } catch { return null; }
  };
  const show = () => {
    const value = read();
    for (const field of fields) {
      field.disabled = !value;
      const given = value?.[field.dataset.parameter];
      if (field.type === "checkbox") { field.checked = given === true; field.indeterminate = given === undefined; }
      else if (field.tagName === "SELECT") field.value = given === undefined ? "" : JSON.stringify(given);
      else field.value = given === undefined || given === null ? "" : typeof given === "object" ? JSON.stringify(given) : given;
    }
  };
  const write = (field) => {
    const value = read();
    if (!value) return;
    const name = field.dataset.parameter;
    if (field.type === "checkbox") value[name] = field.checked;
    else if (field.value === "") delete value[name];
    else value[name] = field.tagName === "SELECT" ? JSON.parse(field.value) : field.type === "number" ? Number(field.value) : field.value;
    area.value = JSON.stringify(value, null, 2);
    area.dispatchEvent(new Event("change"));
  };
  for (const field of fields) field.addEventListener("input", () => write(field));
  area.addEventListener("input", show);
  form.querySelector("[data-closes]").open = Boolean(area.closest("[data-closes]").querySelector("[aria-invalid=true]"));
  show();
}

// Fill in the parameters with which this browser last started the API, unless the address asks for a sample.
function remember(form) {
  const name = `callboard-parameters ${form.dataset.remember}`;
  const area = form.elements.parameters;
  try {
    const last = localStorage.getItem(name);
    if (last !== null && !("filledIn" in form.dataset)) area.value = last;
  } catch { /* the storage is disabled, so the samples stay */ }
  form.addEventListener("submit", () => {
    try { localStorage.setItem(name, area.value.slice(0, 100000)); } catch { /* the parameters are not remembered */ }
  });
}

// Send a test to the sink without leaving the form, because its secrets would have to be entered again.
function sendTest(button) {
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    const place = document.getElementById("sink-test");
    const show = (text) => { const line = document.createElement("p"); line.className = "hint"; line.textContent = text; place.replaceChildren(line); };
    button.disabled = true;
    show("Sending …");
    try {
      const body = new URLSearchParams(new FormData(button.form));
      body.set("do", "test");
      const answer = await fetch(button.form.action, { method: "POST", body, headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const outcome = page.getElementById("sink-test");
      if (outcome) place.replaceChildren(...outcome.childNodes); else show(page.querySelector("main .lead")?.textContent ?? "The test could not be sent.");
    } catch { show("Callboard did not answer. Try again."); }
    button.disabled = false;
    button.focus();
  });
}

// Show the parts of a form as tabs (the pattern of WAI-ARIA); without script they are shown below each other.
function tabs(around) {
  const panels = [...around.querySelectorAll(":scope > section")];
  const kept = around.querySelector("[data-tab]");
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", around.dataset.tabs);
  const made = panels.map((panel) => {
    const heading = panel.querySelector("h2");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${panel.id}-tab`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    heading.hidden = true;
    list.append(tab);
    return tab;
  });
  const choose = (index) => {
    made.forEach((tab, each) => {
      tab.setAttribute("aria-selected", String(each === index));
      tab.tabIndex = each === index ? 0 : -1;
      panels[each].hidden = each !== index;
    });
    kept.value = panels[index].id;
  };
  const mark = (index) => {
    const wrong = Boolean(panels[index].querySelector("[aria-invalid=true]:not(:disabled)"));
    if (wrong === made[index].classList.contains("wrong")) return;
    made[index].classList.toggle("wrong", wrong);
    made[index].querySelector("span")?.remove();
    if (!wrong) return;
    const told = document.createElement("span");
    told.className = "unseen";
    told.textContent = " (has an error)";
    made[index].append(told);
  };
  list.addEventListener("click", (event) => { const index = made.indexOf(event.target.closest("button")); if (index >= 0) choose(index); });
  list.addEventListener("keydown", (event) => {
    const at = made.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const index = (to + made.length) % made.length;
    choose(index);
    made[index].focus();
  });
  // The browser moves to the first invalid field only if that is visible, so its tab is shown.
  let shown = false;
  panels.forEach((panel, index) => {
    panel.addEventListener("invalid", () => {
      if (!shown) choose(index);
      shown = true;
      setTimeout(() => { shown = false; });
    }, true);
    new MutationObserver(() => mark(index)).observe(panel, { subtree: true, attributes: true, attributeFilter: ["aria-invalid", "disabled"] });
    mark(index);
  });
  around.prepend(list);
  const wrong = panels.findIndex((_, index) => made[index].classList.contains("wrong"));
  choose(wrong >= 0 ? wrong : Math.max(0, panels.findIndex((panel) => panel.id === kept.value)));
}

// Let a button copy the text that `read` returns.
function copies(button, read) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(await read());
      button.textContent = "Copied";
      announce("Copied");
    } catch { button.textContent = "Cannot copy here"; }
  });
}

function enhance(root) {
  for (const figure of root.querySelectorAll("[data-live-view]")) new LiveView(figure);
  runningTimes(root);
  for (const button of root.querySelectorAll("[data-copy]")) {
    copies(button, async () => (await fetch(button.dataset.copy)).text());
  }
  for (const button of root.querySelectorAll("[data-copy-from]")) {
    copies(button, () => document.getElementById(button.dataset.copyFrom).textContent);
  }
  for (const all of root.querySelectorAll("[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => { for (const box of document.querySelectorAll("input[name=run]")) box.checked = all.checked; });
  }
  for (const panel of root.querySelectorAll("[data-log]")) {
    const around = panel.closest("details");
    let log = null;
    const open = () => { if (!log && (!around || around.open)) log = new Log(panel); };
    around?.addEventListener("toggle", open);
    open();
  }
  for (const area of root.querySelectorAll("[data-json]")) checkJson(area);
  for (const choice of root.querySelectorAll("[data-shows]")) {
    const show = () => {
      for (const part of document.querySelectorAll(`[data-when^="${choice.id}="]`)) {
        part.hidden = !part.dataset.when.slice(choice.id.length + 1).split("|").includes(choice.value);
        // Hidden fields are disabled, so that they are neither sent nor checked.
        for (const field of part.querySelectorAll("input,select,textarea")) field.disabled = part.hidden;
      }
    };
    choice.addEventListener("change", show);
    show();
  }
  for (const choice of root.querySelectorAll("[data-presses]")) {
    choice.addEventListener("change", () => choice.form.requestSubmit(document.getElementById(choice.dataset.presses)));
  }
  for (const zone of root.querySelectorAll("[data-own-zone]")) zone.value ||= full.resolvedOptions().timeZone;
  for (const parts of root.querySelectorAll("[data-tabs]")) tabs(parts);
  for (const form of root.querySelectorAll("[data-remember]")) remember(form);
  for (const form of root.querySelectorAll("form:has([data-parameter])")) parameterFields(form);
  for (const button of root.querySelectorAll("[data-send-test]")) sendTest(button);
  for (const form of root.querySelectorAll("[data-filter]")) {
    form.addEventListener("change", (event) => {
      // Another API has other samples, so the chosen sample is not sent along.
      if (event.target.name === "api" && form.elements.sample) form.elements.sample.disabled = true;
      form.requestSubmit();
    });
  }
}

// A link to a question holds its secret behind the `#`, which no server sees before a person presses the button.
function openLink() {
  const opening = document.querySelector("[data-link]");
  if (!opening || location.hash.length < 2) return;
  opening.querySelector("input[name=link]").value = location.hash.slice(1);
  opening.querySelector("button").disabled = false;
  opening.hidden = false;
  document.querySelector("[data-asked]")?.remove();
  history.replaceState(null, "", location.pathname);
}
addEventListener("hashchange", openLink);

// The key `/` leads to the search of the page, as in most tools.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input,textarea,select,[contenteditable],[data-live-view]")) return;
  const search = [...document.querySelectorAll("input[type=search]:not(:disabled)")].find((each) => each.offsetParent);
  if (!search) return;
  event.preventDefault();
  search.focus();
});

noteTexts(document);
localTimes(document);
localFields(document);
theme();
alreadySignedIn();
openLink();
enhance(document);
setInterval(() => { runningTimes(document); localTimes(document); }, 1000);
follow();
