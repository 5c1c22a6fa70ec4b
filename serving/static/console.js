"use strict";
// Keeps the console as console.json says. Only texts that differ are written, so nothing flickers, a selection stays, and
// a screen reader hears of changes only.

const EVERY_MS = 3000;
const $ = (id) => document.getElementById(id);

function make(tag, attributes, text) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Give a parent one child for each value: those there are filled again, missing ones made, those left over removed.
function fill(parent, values, create, update) {
  while (parent.children.length > values.length) parent.lastElementChild.remove();
  values.forEach((value, place) => {
    if (place === parent.children.length) parent.appendChild(create(value));
    update(parent.children[place], value);
  });
}

function alarm(node, line) {
  node.className = line === null ? "banner good" : "banner bad";
  say(node, line === null ? "All is as it should be." : line);
}

function newFigure() {
  const box = make("div", {});
  box.append(make("dt", {}), make("dd", {}), make("dd", { class: "note" }));
  return box;
}

function figure(box, one) {
  [one.name, one.value, one.note].forEach((text, place) => say(box.children[place], text));
}

const SVG = "http://www.w3.org/2000/svg";

function newBar() {
  const svg = document.createElementNS(SVG, "svg");
  for (const kind of ["rest", ""]) {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("width", "100%");
    rect.setAttribute("height", "100%");
    if (kind) rect.setAttribute("class", kind);
    svg.append(rect);
  }
  svg.setAttribute("class", "bar");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

function cell(node, value) {
  if (typeof value === "string") return say(node, value);
  if (!node.querySelector("svg")) {
    const share = make("span", { class: "share" });
    share.append(document.createTextNode(""), newBar());
    node.replaceChildren(share);
  }
  const share = node.querySelector(".share");
  if (share.firstChild.data !== value.text) share.firstChild.data = value.text;
  share.querySelector("rect:last-child").setAttribute("width", 100 * value.share + "%");
}

function row(columns) {
  return (tr, values) =>
    fill(
      tr,
      values,
      () => (tr.children.length
        ? make("td", { role: "cell", "data-label": columns[tr.children.length] || "" })
        : make("th", { role: "rowheader", scope: "row" })),
      cell,
    );
}

// The frame of a panel: heading, note, and a table, or that there is nothing.
function frame(panel) {
  const box = make("section", { class: "card panel", id: panel.id, "aria-labelledby": panel.id + "-title" });
  box.append(make("h2", { id: panel.id + "-title" }));
  if (panel.note) box.append(make("p", { class: "origin" }));
  if (!panel.rows.length) {
    box.append(make("p", { class: "none" }, "Nothing yet."));
    return box;
  }
  const table = make("table", { role: "table", "aria-labelledby": panel.id + "-title" });
  if (panel.columns.length) {
    const head = make("tr", { role: "row" });
    head.append(...panel.columns.map((name) => make("th", { role: "columnheader", scope: "col" }, name)));
    table.appendChild(make("thead", { role: "rowgroup" })).append(head);
  } else table.className = "pairs";
  table.append(make("tbody", { role: "rowgroup" }));
  box.append(table);
  return box;
}

function refresh(panel) {
  let box = $(panel.id);
  const note = box && box.querySelector(":scope > .origin");
  if (!box || !box.querySelector("table") === !!panel.rows.length || !note === !!panel.note) {
    const fresh = frame(panel);
    if (box) box.replaceWith(fresh);
    else $("panels").append(fresh);
    box = fresh;
  }
  say(box.querySelector("h2"), panel.title);
  if (panel.note) say(box.querySelector(":scope > .origin"), panel.note);
  if (panel.rows.length) fill(box.querySelector("tbody"), panel.rows, () => make("tr", { role: "row" }), row(panel.columns));
}

function show(told) {
  say($("at"), told.at);
  $("at").setAttribute("datetime", told.at);
  fill($("alarms"), told.alarms.length ? told.alarms : [null], () => make("p", {}), alarm);
  fill($("figures"), told.figures, newFigure, figure);
  const there = told.panels.map((panel) => panel.id);
  for (const box of [...$("panels").children]) if (!there.includes(box.id)) box.remove();
  told.panels.forEach(refresh);
}

async function look() {
  try {
    const reply = await fetch("console.json", { cache: "no-store" });
    if (!reply.ok) throw new Error("answered " + reply.status);
    show(await reply.json());
    say($("stalled"), "");
  } catch (error) {
    say($("stalled"), " – not refreshed: the service " + (error instanceof TypeError ? "does not answer" : error.message));
  }
  setTimeout(look, EVERY_MS);
}

setTimeout(look, EVERY_MS);
