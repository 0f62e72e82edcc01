// The log of an Attempt, however long: every line is kept, and those in sight are drawn. Read when it is opened,
// followed while the Attempt runs.
"use strict";

const LEVELS = { debug: 0, trace: 0, log: 1, info: 1, warn: 2, warning: 2, error: 3, critical: 3 };
const BEYOND = 30;  // rows that are drawn above and below those in sight
const LONGEST = 5000;  // characters of a row: what is longer is in the file
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

class Log {
  constructor(panel) {
    this.panel = panel;
    this.lines = [];  // as they came
    this.rows = [];  // of the lines that fit what is searched for: one for each row of their text
    this.taken = 0;  // lines that `rows` is made from
    this.list = panel.querySelector("[data-lines]");
    this.note = panel.querySelector("[data-note]");
    this.search = panel.querySelector("[data-search]");
    this.level = panel.querySelector("[data-level]");
    this.tail = panel.querySelector("[data-tail]");
    this.sheet = document.createElement("div");  // as high as all rows are
    this.sheet.className = "sheet";
    this.window = document.createElement("div");  // the rows that are drawn, at their place on it
    this.window.className = "window";
    this.sheet.append(this.window);
    this.list.append(this.sheet);
    for (const each of [this.search, this.level]) each.addEventListener("input", () => { this.rows = []; this.taken = 0; this.show(); });
    this.tail.addEventListener("input", () => this.show());
    this.list.addEventListener("scroll", () => this.scrolled());
    new ResizeObserver(() => this.draw()).observe(this.list);
    for (const each of [this.search, this.level, this.tail]) each.disabled = false;
    this.list.hidden = false;
    if (panel.hasAttribute("data-running")) this.stream(); else this.read();
  }

  async read() {
    this.note.textContent = "Reading …";
    this.tail.checked = false;  // from its beginning: it is complete
    try {
      const answer = await fetch(this.panel.dataset.log);
      if (!answer.ok) throw new Error();
      for (const text of (await answer.text()).split("\n")) if (text) this.take(text);
      this.show();
    } catch { this.note.textContent = "The log cannot be read at the moment."; }
  }

  stream() {
    this.note.textContent = "Nothing has been written yet.";
    const source = new EventSource(`${this.panel.dataset.log}?follow=true`);
    source.onmessage = (event) => { this.take(event.data); this.soon(); };
    source.addEventListener("end", () => { source.close(); this.panel.removeAttribute("data-running"); this.show(); });
  }

  take(text) {
    let line;
    try { line = JSON.parse(text); } catch { line = { message: text }; }  // cut off with its worker
    const level = String(line.level ?? "info").toLowerCase();
    this.lines.push({ at: line.timestamp, level, rank: LEVELS[level] ?? 1, source: line.source, text: String(line.message ?? text) });
  }

  soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.show(); });
  }

  // Make rows of the lines that have come since, and draw.
  show() {
    const words = this.search.value.trim().toLowerCase();
    const lowest = Number(this.level.value);
    for (; this.taken < this.lines.length; this.taken++) {
      const line = this.lines[this.taken];
      if (line.rank < lowest || (words && !line.text.toLowerCase().includes(words))) continue;
      line.text.split("\n").forEach((text, index) => this.rows.push({ line, text, first: index === 0 }));
    }
    this.words = words;
    this.note.textContent = this.told();
    this.row ??= this.measured();
    this.sheet.style.height = `${this.rows.length * this.row}px`;
    if (this.tail.checked) this.list.scrollTop = this.list.scrollHeight;
    this.draw();
  }

  told() {
    const all = this.lines.length;
    if (!all) return this.panel.hasAttribute("data-running") ? "Nothing has been written yet." : "Nothing was written.";
    const number = (count) => count.toLocaleString();
    if (!this.words && this.level.value === "0") return `${number(all)} ${all === 1 ? "line" : "lines"}`;
    const shown = this.rows.reduce((count, row) => count + (row.first ? 1 : 0), 0);
    return shown ? `${number(shown)} of ${number(all)} lines` : `None of ${number(all)} lines fits`;
  }

  // Whoever scrolls up wants to read: it follows no more, until they are at the end again.
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
    row.className = `line ${line.rank === 3 ? "error" : line.rank === 2 ? "warning" : line.rank === 0 ? "debug" : ""}`;
    const at = document.createElement("span");
    at.className = "at";
    const when = line.at ? new Date(line.at) : null;
    if (first && when && !Number.isNaN(when.valueOf())) { at.textContent = clock.format(when); at.title = full.format(when); }
    const level = document.createElement("span");
    level.className = "lv";
    if (first) { level.textContent = line.level; if (line.source) level.title = `from ${line.source}`; }
    const said = document.createElement("span");
    said.className = "tx";
    said.append(...this.marked(text.length <= LONGEST ? text : `${text.slice(0, LONGEST)} … (${text.length.toLocaleString()} characters; the file has all)`));
    row.append(at, level, said);
    return row;
  }

  marked(text) {
    if (!this.words) return [text];
    const low = text.toLowerCase();
    if (low.length !== text.length) return [text];  // letters that are longer in lower case
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

  measured() {
    const probe = this.drawn({ line: { level: "", rank: 1 }, text: "M", first: false });
    this.window.append(probe);
    const { height } = probe.getBoundingClientRect();
    probe.remove();
    return height || undefined;  // it is not laid out yet
  }
}
