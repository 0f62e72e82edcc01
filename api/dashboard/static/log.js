// Viewer of the log of an Attempt, however long: it keeps every line, and draws only the visible ones. It reads the log
// when it is opened, and follows it while the Attempt runs.
"use strict";

const LEVELS = { debug: 0, trace: 0, log: 1, info: 1, warn: 2, warning: 2, error: 3, critical: 3 };
const BEYOND = 30;  // number of rows that are drawn above and below the visible ones
const LONGEST = 5000;  // characters that are shown of a line; the file has the whole text
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

class Log {
  constructor(panel) {
    this.panel = panel;
    this.lines = [];  // all lines, in the order in which they were received
    this.rows = [];  // one element for each row of text of the lines that match the filters
    this.taken = 0;  // number of lines that `rows` was made from so far
    this.list = panel.querySelector("[data-lines]");
    this.note = panel.querySelector("[data-note]");
    this.search = panel.querySelector("[data-search]");
    this.level = panel.querySelector("[data-level]");
    this.tail = panel.querySelector("[data-tail]");
    this.sheet = document.createElement("div");  // this element is as high as all rows together
    this.sheet.className = "sheet";
    this.window = document.createElement("div");  // this element holds the drawn rows, at their place on the sheet
    this.window.className = "window";
    this.sheet.append(this.window);
    this.list.append(this.sheet);
    for (const each of [this.search, this.level]) each.addEventListener("input", () => { this.rows = []; this.taken = 0; this.show(); });
    this.tail.addEventListener("input", () => this.show());
    this.list.addEventListener("scroll", () => this.scrolled());
    new ResizeObserver(() => this.resized()).observe(this.list);
    for (const each of [this.search, this.level, this.tail]) each.disabled = false;
    this.list.hidden = false;
    if (panel.hasAttribute("data-running")) this.stream(); else this.read();
  }

  async read() {
    this.note.textContent = "Loading…";
    this.tail.checked = false;  // the log is complete, so it is shown from its beginning
    try {
      const answer = await fetch(this.panel.dataset.log);
      if (!answer.ok) throw new Error();
      for (const text of (await answer.text()).split("\n")) if (text) this.take(text);
      this.show();
    } catch { this.note.textContent = "The log cannot be read at the moment."; }
  }

  stream() {
    this.note.textContent = "The log is empty so far.";
    const source = new EventSource(`${this.panel.dataset.log}?follow=true`);
    source.onmessage = (event) => { this.take(event.data); this.soon(); };
    source.addEventListener("end", () => { source.close(); this.panel.removeAttribute("data-running"); this.show(); });
  }

  take(text) {
    let line;
    try { line = JSON.parse(text); } catch { line = { message: text }; }  // the line was cut off when its worker was killed
    const level = String(line.level ?? "info").toLowerCase();
    this.lines.push({ at: line.timestamp, level, rank: LEVELS[level] ?? 1, source: line.source, text: String(line.message ?? text) });
  }

  soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.show(); });
  }

  // Make rows of the lines that have arrived since the last call, and draw them.
  show() {
    const words = this.search.value.trim().toLowerCase();
    const lowest = Number(this.level.value);
    this.words = words;
    if (!this.row) this.measure();
    for (; this.taken < this.lines.length; this.taken++) {
      const line = this.lines[this.taken];
      if (line.rank < lowest || (words && !line.text.toLowerCase().includes(words))) continue;
      let first = true;
      for (const text of line.text.slice(0, LONGEST).split("\n")) {
        for (let at = 0; at === 0 || at < text.length; at += this.columns) {
          this.rows.push({ line, text: text.slice(at, at + this.columns), first });
          first = false;
        }
      }
      if (line.text.length > LONGEST) this.rows.push({ line, text: `… (${line.text.length.toLocaleString()} characters; the file has all)`, first: false });
    }
    this.note.textContent = this.summary();
    this.sheet.style.height = `${this.rows.length * this.row}px`;
    if (this.tail.checked) this.list.scrollTop = this.list.scrollHeight;
    this.draw();
  }

  summary() {
    const all = this.lines.length;
    if (!all) return this.panel.hasAttribute("data-running") ? "The log is empty so far." : "The log is empty.";
    const number = (count) => count.toLocaleString();
    if (!this.words && this.level.value === "0") return `${number(all)} ${all === 1 ? "line" : "lines"}`;
    const shown = this.rows.reduce((count, row) => count + (row.first ? 1 : 0), 0);
    return shown ? `${number(shown)} of ${number(all)} lines` : `No matches in ${number(all)} lines`;
  }

  // Stop following when the user scrolls up to read, until they are at the end again.
  scrolled() {
    this.draw();
    const end = this.list.scrollHeight - this.list.clientHeight;
    if (this.panel.hasAttribute("data-running")) this.tail.checked = this.list.scrollTop >= end - 2 * this.row;
  }

  draw() {
    if (!this.row) return;
    const begin = Math.max(0, Math.floor(this.list.scrollTop / this.row) - BEYOND);
    const end = Math.min(this.rows.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / this.row) + BEYOND);
    this.window.style.transform = `translateY(${begin * this.row}px)`;
    this.window.replaceChildren(...this.rows.slice(begin, end).map((row) => this.drawn(row)));
  }

  drawn({ line, text, first }) {
    const row = document.createElement("div");
    row.className = `line ${line.source === "callboard" || line.source === "network" ? "ours " : ""}${line.rank === 3 ? "error" : line.rank === 2 ? "warning" : line.rank === 0 ? "debug" : ""}`;
    const at = document.createElement("span");
    at.className = "at";
    const when = line.at ? new Date(line.at) : null;
    if (first && when && !Number.isNaN(when.valueOf())) { at.textContent = clock.format(when); at.title = full.format(when); }
    const level = document.createElement("span");
    level.className = "lv";
    if (first) { level.textContent = line.level; if (line.source) level.title = `from ${line.source}`; }
    const message = document.createElement("span");
    message.className = "tx";
    message.append(...this.marked(text));
    row.append(at, level, message);
    return row;
  }

  marked(text) {
    if (!this.words) return [text];
    const low = text.toLowerCase();
    if (low.length !== text.length) return [text];  // some letters become longer in lower case, so positions would not fit
    const parts = [];
    let from = 0;
    for (let at = low.indexOf(this.words); at >= 0; at = low.indexOf(this.words, from)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + this.words.length);
      parts.push(text.slice(from, at), mark);
      from = at + this.words.length;
    }
    return [...parts, text.slice(from)];
  }

  // Find out how high a row is, and how many characters are as wide as the list: lines are cut into rows of so many.
  measure() {
    const probe = this.drawn({ line: { level: "", rank: 1 }, text: "M".repeat(100), first: false });
    this.window.append(probe);
    const text = probe.lastChild.getBoundingClientRect();
    const room = this.list.getBoundingClientRect().right - text.left - 28;  // less padding and scrollbar
    this.row = probe.getBoundingClientRect().height || undefined;  // the height is 0 while the list is not laid out yet
    this.columns = this.row ? Math.max(20, Math.floor(room / (text.width / 100))) : Infinity;
    probe.remove();
  }

  resized() {
    const columns = this.columns;
    this.measure();
    if (this.columns !== columns) { this.rows = []; this.taken = 0; this.show(); } else this.draw();
  }
}
