// What pages do beyond what HTML does. Every page also works without it, but for following what happens.
"use strict";

const say = (text) => { document.getElementById("said").textContent = text; };

// Times in the reader's zone; the exact one, with its zone, on hover.
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const near = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const far = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
function localTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = (at.toDateString() === today ? near : far).format(at);
    time.title = full.format(at);
  }
}

function theme() {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("callboard-theme", root.dataset.theme); } catch { /* it holds for this page */ }
    say(`${dark ? "Light" : "Dark"} theme`);
  });
}

// A link from elsewhere does not bring the cookie along, though somebody may be signed in: the browser asks itself.
async function alreadySignedIn() {
  const door = document.querySelector("[data-next]");
  if (!door || document.querySelector(".problem")) return;
  const answer = await fetch("/projects.json", { headers: { accept: "application/json" } }).catch(() => null);
  if (answer && answer.ok && !document.getElementById("key").value) location.replace(door.dataset.next);
}

localTimes(document);
theme();
alreadySignedIn();
