// The live view of a browser, and hands on it. A page that shows one has the macro `live` (macros.html) and this script.
"use strict";

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const MOST_FILE_BYTES = 8 * 1024 * 1024;
const MOST_IDLE = 10 * 60 * 1000;  // milliseconds for which the browser is kept for a person who does nothing

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

class LiveView {  // eslint-disable-line no-unused-vars
  constructor(figure) {
    this.figure = figure;
    this.address = figure.dataset.liveView;
    this.canvas = figure.querySelector("canvas");
    this.said = figure.querySelector("[role=status]");
    this.button = figure.querySelector("[data-take]");
    this.typing = figure.querySelector("[data-typing]");
    this.asking = figure.querySelector("[data-asking]");
    this.name = this.canvas.getAttribute("aria-label");
    this.held = false;
    this.queue = [];
    this.sending = false;
    this.asks = null;
    this.say("The browser is asked for what it shows.");
    this.leaving = new AbortController();
    figure.addEventListener("leave", () => this.leaving.abort());
    this.watch();
    if (this.button) this.takeHands();
  }

  // While nobody can see the picture, nothing is asked for.
  get isSeen() { return !document.hidden && this.canvas.checkVisibility(); }

  async call(path, options) {
    return fetch(this.address + path, { redirect: "error", headers: { accept: "application/json, image/jpeg", "content-type": "application/json" }, ...options }).catch(() => null);
  }

  post(what, body) { return this.call(`/${what}`, { method: "POST", body: JSON.stringify(body) }); }

  say(text) { if (this.said.textContent !== text) this.said.textContent = text; }

  async sayProblem(answer) {
    this.say((await answer?.json().catch(() => null))?.message ?? "Callboard did not answer. It is asked again.");
  }

  // Draw what the browser shows, one picture after the other, and hear who has it, and what it asks. One call waits for
  // both: a browser has few connections to a host, and inputs need one.
  async watch() {
    let after = 0, state = 0;
    while (this.canvas.isConnected) {
      if (!this.isSeen) { await pause(500); continue; }
      const answer = await this.call(`?after=${after}&state=${state}`, { signal: this.leaving.signal });
      if (answer?.status === 200) {
        const picture = await createImageBitmap(await answer.blob());
        [this.canvas.width, this.canvas.height] = [picture.width, picture.height];
        this.canvas.getContext("2d").drawImage(picture, 0, 0);
        picture.close();
        if (!after) this.sayState();
        after = answer.headers.get("x-number");
      } else if (answer?.status !== 204) {
        if (answer && this.button) this.hold(false);  // whoever has it hears so with the next state
        await this.sayProblem(answer);
        [after, state] = [0, 0];  // so that all is said again when there is a picture again
        await pause(3000);
      } else if (!after) this.say("The browser has shown nothing yet.");
      if (answer && answer.headers.get("x-state") > state) state = await this.hear(state);
    }
    if (this.button) this.hold(false);
  }

  async hear(before) {
    const answer = await this.call(`/state?after=${before}`);
    if (answer?.status !== 200) return before;
    const state = await answer.json();
    this.holder = state.holder;
    if (this.button) this.hold(state.isYours);
    this.ask(this.held ? state.asks : null);
    this.sayState();
    return state.number;
  }

  sayState() {
    if (this.held) this.say("You have the browser. Shift and Escape leave the picture.");
    else this.say(this.holder ? `${this.holder} has the browser.` : "Live view");
  }

  // What is done to the canvas is done to the page, from "Take over" to "Give back".
  takeHands() {
    this.button.hidden = false;
    this.button.addEventListener("click", async () => {
      const takes = !this.held;  // it may be heard of before the answer is here
      const answer = await this.post("control", { action: takes ? "take" : "give" });
      if (answer?.ok) {
        this.holder = null;
        this.hold(takes);
        this.sayState();
        if (this.held) this.canvas.focus();
      } else {
        if (answer?.status === 403) this.hold(false);
        await this.sayProblem(answer);
      }
    });
    setInterval(() => { if (this.held && this.isSeen && !this.queue.length && Date.now() < this.actedAt + MOST_IDLE) this.send(); }, 10000);
    this.takeMouse();
    this.takeKeys();
    this.typing.addEventListener("submit", (event) => {
      event.preventDefault();
      const field = this.typing.elements.text;
      if (field.value) this.add({ kind: "text", text: field.value.slice(0, 4096) });
      field.value = "";
    });
  }

  hold(held) {
    if (held === this.held) return;
    this.held = held;
    this.actedAt = Date.now();
    this.queue = [];
    this.button.textContent = held ? "Give back" : "Take over";
    this.figure.classList.toggle("held", held);
    this.typing.hidden = !held;
    this.typing.elements.text.value = "";
    this.canvas.setAttribute("role", held ? "application" : "img");
    this.canvas.setAttribute("aria-label", held ? `${this.name}. Keys go to its page; Shift and Escape leave it.` : this.name);
    if (held) this.canvas.tabIndex = 0; else this.canvas.removeAttribute("tabindex");
    if (!held) this.ask(null);
  }

  add(event) {
    if (!this.held) return;
    if (event.type === "mouseMoved" && this.queue.at(-1)?.type === "mouseMoved") this.queue.pop();  // only where it is matters
    this.queue.push(event);
    this.actedAt = Date.now();
    this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    do {
      const answer = await this.post("input", { events: this.queue.splice(0, 200) });
      if (answer?.ok) this.sayState();
      else {
        if (answer?.status === 403) this.hold(false);
        await this.sayProblem(answer);
      }
    } while (this.held && this.queue.length);
    this.sending = false;
  }

  place(event) {
    const around = this.canvas.getBoundingClientRect(), part = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size));
    return { x: part(event.clientX, around.left, around.width), y: part(event.clientY, around.top, around.height) };
  }

  takeMouse() {
    const on = (name, handler) => this.canvas.addEventListener(name, (event) => { if (this.held) { event.preventDefault(); handler(event); } }, { passive: false });
    const mouse = (event, type, more) => this.add({ kind: "mouse", type, ...this.place(event), modifiers: modifiers(event), ...more });
    const pressed = (event) => ({ button: ["left", "middle", "right", "back", "forward"][event.button] ?? "none", clickCount: Math.min(3, event.detail) });
    on("mousedown", (event) => { this.canvas.focus({ preventScroll: true }); mouse(event, "mousePressed", pressed(event)); });
    on("mouseup", (event) => mouse(event, "mouseReleased", pressed(event)));
    on("mousemove", (event) => mouse(event, "mouseMoved", { button: event.buttons & 1 ? "left" : "none" }));
    on("wheel", (event) => mouse(event, "mouseWheel", { deltaX: event.deltaX, deltaY: event.deltaY }));
    on("contextmenu", () => {});
    // A finger that moves turns the wheel; one that does not is a click, by the browser's own mouse events.
    let finger = null;
    this.canvas.addEventListener("touchstart", (event) => { finger = event.touches[0]; }, { passive: true });
    this.canvas.addEventListener("touchmove", (event) => {
      if (!this.held || !finger) return;
      event.preventDefault();
      const now = event.touches[0], scale = this.canvas.width / this.canvas.clientWidth;
      this.add({ kind: "mouse", type: "mouseWheel", ...this.place(now), deltaX: (finger.clientX - now.clientX) * scale, deltaY: (finger.clientY - now.clientY) * scale });
      finger = now;
    }, { passive: false });
  }

  takeKeys() {
    const down = new Map();
    const key = (event, type) => {
      if (!this.held || event.isComposing) return;
      if (event.key === "Escape" && event.shiftKey) { this.button.focus(); return; }
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "v") return;  // the paste comes as an event of its own
      event.preventDefault();
      const told = { kind: "key", key: event.key, code: event.code };
      if (type === "keyDown") down.set(event.code, told); else down.delete(event.code);
      this.add({ ...told, type, modifiers: modifiers(event) });
    };
    this.canvas.addEventListener("keydown", (event) => key(event, "keyDown"));
    this.canvas.addEventListener("keyup", (event) => key(event, "keyUp"));
    this.canvas.addEventListener("blur", () => {  // what goes up elsewhere is not heard of
      for (const told of down.values()) this.add({ ...told, type: "keyUp" });
      down.clear();
    });
    document.addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text/plain").slice(0, 16384);
      if (this.held && document.activeElement === this.canvas && text) this.add({ kind: "paste", text });
    });
  }

  // What no picture shows: lists, dates, files and dialogs are elements of this page.
  ask(asks) {
    if (asks?.id === this.asks?.id) return;
    const hadFocus = this.asking.contains(document.activeElement);
    this.asks = asks;
    this.asking.hidden = !asks;
    this.asking.replaceChildren();
    if (asks) {
      this.asking.append(this[`${asks.kind}Form`](asks));
      if (asks.kind !== "date") this.asking.querySelector("select, input, button").focus();
    } else if (hadFocus) this.canvas.focus();
  }

  form(asks, parts, ok, read, no) {
    const answer = (fields) => { this.add({ kind: asks.kind, id: asks.id, ...fields }); this.ask(null); };
    const made = element("form", { className: "stack", autocomplete: "off" }, ...parts);
    const actions = element("div", { className: "actions" }, element("button", { className: "primary small", textContent: ok }));
    if (no) {
      const cancel = element("button", { type: "button", className: "small", textContent: "Cancel" });
      cancel.addEventListener("click", () => answer(no));
      actions.append(cancel);
    }
    made.append(actions);
    made.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fields = await read();
      if (fields) answer(fields);
    });
    return made;
  }

  selectForm(asks) {
    const list = element("select", { size: Math.min(10, Math.max(2, asks.options.length)) });
    let group = list;
    asks.options.forEach((each, index) => {
      if (!each.group) group = list;
      else if (group.label !== each.group) list.append(group = element("optgroup", { label: each.group }));
      group.append(element("option", { value: String(index), textContent: each.label, disabled: each.disabled, selected: each.selected }));
    });
    const form = this.form(asks, [element("label", {}, asks.label || "List of the page", list)], "Choose", () => (list.value ? { index: Number(list.value) } : null), { index: null });
    list.addEventListener("click", (event) => { if (event.target.localName === "option" && !event.target.disabled) form.requestSubmit(); });
    list.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); form.requestSubmit(); } });
    return form;
  }

  dateForm(asks) {
    const field = element("input", { type: asks.type, min: asks.min, max: asks.max, step: asks.step || "any" });
    field.value = asks.value;
    return this.form(asks, [element("label", {}, asks.label || "Field of the page", field)], "Set", () => ({ value: field.value }), { value: null });
  }

  filesForm(asks) {
    const field = element("input", { type: "file", multiple: asks.multiple, accept: asks.accept });
    const read = async () => {
      const files = [...field.files];
      if (files.length > 10 || files.reduce((sum, each) => sum + each.size, 0) > MOST_FILE_BYTES) {
        this.say("At most 10 files, and 8 MiB together, can be given to the page.");
        return null;
      }
      return { files: await Promise.all(files.map(async (each) => ({ name: each.name, type: each.type, content: await base64(each) }))) };
    };
    return this.form(asks, [element("label", {}, "Files for the page", field)], "Upload", read, { files: null });
  }

  dialogForm(asks) {
    const text = asks.type === "beforeunload" && !asks.message ? "Leave the page? What was entered may be lost." : asks.message;
    const parts = [element("p", { className: "message", textContent: text })];
    const field = element("input", { type: "text", value: asks.default, maxLength: 4096 });
    if (asks.type === "prompt") parts.push(element("label", {}, "Answer", field));
    const made = this.form(asks, parts, "OK", () => (asks.type === "prompt" ? { accept: true, text: field.value } : { accept: true }), asks.type === "alert" ? null : { accept: false });
    made.setAttribute("aria-label", "Dialog of the page");
    return made;
  }
}

const modifiers = (event) => event.altKey + 2 * event.ctrlKey + 4 * event.metaKey + 8 * event.shiftKey;

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
