// Elements, and the state that they show. Text always enters as text, never as HTML.

/**
 * A model of named values, with the interface of an anywidget model: get, set, on and
 * save_changes. A page has one of these; a notebook gives its own, which Python sees as well.
 */
export function createState(values) {
  const listeners = {};
  return {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      for (const listener of listeners[`change:${name}`] ?? []) listener();
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    off: (event, listener) =>
      (listeners[event] = (listeners[event] ?? []).filter((known) => known !== listener)),
    save_changes() {},
  };
}

/** An element with attributes, event handlers (onclick: ...) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// of all radio buttons of a page, those of one name are one group; widgets know nothing of others
const prefix = `digitgan-${Math.random().toString(36).slice(2)}`;
let groups = 0;

/** Keys of which one is pressed: { root, show(value), keys }; `choose(value)` is called. */
export function keys(label, options, choose) {
  const name = `${prefix}-${++groups}`, root = element("div", { role: "radiogroup", class: "keys" });
  root.setAttribute("aria-label", label);
  const longest = Math.max(...options.map(({ text }) => text.length));
  if (options.length > 12 || options.length * longest > 60) { // several rows, and long names
    root.classList.add("many");
    root.style.setProperty("--least", `${Math.min(30 + 9 * longest, 160)}px`);
  }
  const inputs = new Map(), faces = new Map();
  for (const { value, text, title = text } of options) {
    const input = element("input", { type: "radio", name, "aria-label": title });
    const face = element("span", { class: "face" }, text);
    input.addEventListener("change", () => choose(value));
    inputs.set(value, input);
    faces.set(value, face);
    root.append(element("label", { class: "key", title }, input, face));
  }
  const show = (value) => inputs.forEach((input, own) => (input.checked = own === value));
  return { root, show, faces, inputs };
}

/** A slider with its name, its ends and its value: { root, show(value) }. */
export function slider(label, { min, max, step, ends, title, unit = String }, choose) {
  const input = element("input", { type: "range", min, max, step, title, "aria-label": label });
  const value = element("output", { class: "value" });
  const show = (number) => {
    input.value = number;
    value.textContent = unit(number);
    input.setAttribute("aria-valuetext", unit(number));
    const place = (at) => `${(100 * (at - min)) / (max - min)}%`;
    const zero = Math.min(Math.max(0, min), max);
    input.style.setProperty("--from", place(Math.min(zero, number)));
    input.style.setProperty("--to", place(Math.max(zero, number)));
  };
  input.addEventListener("input", () => choose(Number(input.value)));
  const head = element("div", { class: "head" }, element("span", { title }, label), value);
  const foot = element("div", { class: "ends", "aria-hidden": "true" },
    element("span", {}, ends[0]), element("span", {}, ends[1]));
  return { root: element("div", { class: "slider" }, head, input, foot), show, input };
}

export function button(text, title, press, kind = "") {
  const attributes = { type: "button", class: `button ${kind}`, title, onclick: press };
  return element("button", attributes, text);
}

/** Call `draw` once in the next frame, however often it is asked for until then. */
export function eachFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Call `draw` when an element's size or the colour scheme changes; returns what ends that. */
export function whenResized(target, draw) {
  const observer = new ResizeObserver(draw);
  observer.observe(target);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  return () => {
    observer.disconnect();
    scheme.removeEventListener("change", draw);
  };
}
