// The page: what is asked for, what was found, and everything that a user can press, drop or type.

import * as api from "/static/api.js";
import { addCurves, asked, card, details, redraw } from "/static/cards.js";
import { byId, counted, element, position, shown } from "/static/format.js";
import { keys } from "/static/keys.js";
import { startMap } from "/static/map_panel.js";
import { startFiles } from "/static/files.js";
import { startTheme } from "/static/theme.js";

const state = {
  about: null,
  query: {}, // one of id, row, position, upload
  vector: null,
  in: null,
  where: "",
  cone: null,
  among: null,
  marks: new Map(), // row -> good | bad
  show: new Set(["images", "curves"]),
  columns: [],
  answer: null,
  listed: [],
};
let asking = null;
let map = null;

// What cards and dialogs may ask of the page.
const page = {
  get about() { return state.about; },
  markOf: (row) => state.marks.get(row) ?? "",
  mark,
  shownColumns: () => state.columns,
  searchFrom: (object) => ask({ row: object.row }),
  details: (object) => guarded(() => details(object, page)),
};

async function guarded(act) {
  try {
    return await act();
  } catch (error) {
    if (error.name !== "AbortError") tell(error);
    return null;
  }
}

function tell(error) {
  const notice = byId("notice");
  notice.replaceChildren(
    element(
      "div",
      {},
      element("div", { class: "text" }, element("p", {}, error.message), error.hint ? element("p", { class: "hint" }, error.hint) : null),
      element("button", { type: "button", class: "quiet close", "aria-label": "Dismiss", onclick: () => (notice.hidden = true) }, "\u00d7"),
    ),
  );
  notice.hidden = false;
}

// Asking -----------------------------------------------------------------------------------------------------------

function wanted() {
  const rows = (kind) => [...state.marks].filter(([, mark]) => mark === kind).map(([row]) => row);
  return {
    ...state.query,
    vector: state.vector,
    in: state.in,
    k: Number(byId("k").value),
    where: state.where,
    cone: state.cone,
    among: state.among,
    good: rows("good"),
    bad: rows("bad"),
  };
}

async function ask(query = state.query, { remember = true } = {}) {
  state.query = query;
  byId("notice").hidden = true;
  if (!Object.keys(query).length && ![...state.marks.values()].includes("good")) return;
  if (remember) history.pushState(null, "", address());
  asking?.abort();
  const mine = (asking = new AbortController());
  document.body.classList.add("busy");
  if (!state.listed.length) skeletons();
  try {
    const answer = await api.search(wanted(), mine.signal);
    state.answer = answer;
    byId("query").value = answer.query.upload ? "" : (answer.query.id ?? "");
    await showAnswer(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!state.listed.length) byId("cards").replaceChildren();
    byId("where").setAttribute("aria-invalid", String(Boolean(state.where) && /where|column|expression/i.test(error.message)));
    tell(error);
  } finally {
    if (asking === mine) document.body.classList.remove("busy");
  }
}

function skeletons() {
  byId("empty").hidden = true;
  byId("cards").replaceChildren(...Array.from({ length: 8 }, () => element("li", { class: "card skeleton", "aria-hidden": "true" })));
}

async function showAnswer(answer) {
  byId("where").removeAttribute("aria-invalid");
  const spaces = answer.vector === answer.in ? `by ${answer.vector}` : `by ${answer.vector} among ${answer.in}`;
  const kind = Object.keys(state.about.kinds).length > 1 ? ` ${spaces}` : "";
  const how = answer.exact ? "exact" : answer.recall === null ? "by index" : `by index, recall ${answer.recall.toFixed(3)}`;
  const count = answer.neighbours.length;
  byId("summary").replaceChildren(
    element("strong", {}, counted(count, "neighbour", "neighbours")),
    `${kind}; ${how}, ${answer.compared.toLocaleString("en")} compared in ${Math.max(1, Math.round(answer.seconds * 1000))} ms`,
  );
  list(answer.neighbours);
  byId("empty").hidden = count > 0;
  if (!count) byId("empty").replaceChildren(element("h2", {}, "Nothing passes the filters"), element("p", {}, "Widen the cone, loosen the condition, or clear the filters."));
  map?.highlight(answer.query.row ?? null, answer.neighbours.map((found) => found.row));
  await Promise.all([asked(answer.query, page), addCurves([...byId("cards").children], page)]);
}

function list(objects) {
  state.listed = objects;
  byId("empty").hidden = true;
  byId("exports").hidden = !objects.length;
  byId("cards").replaceChildren(...objects.map((object, place) => card(object, place, page)));
}

// Rows that are not the neighbours of anything: those inside a lasso.
async function listRows(rows) {
  const most = 96;
  const found = await api.rows(rows.slice(0, most));
  asking?.abort();
  byId("asked").hidden = true;
  byId("summary").replaceChildren(
    element("strong", {}, counted(rows.length, "selected object", "selected objects")),
    rows.length > most ? `; the first ${most} are listed` : "",
  );
  list(found);
  await addCurves([...byId("cards").children], page);
}

// Marks ------------------------------------------------------------------------------------------------------------

function mark(object, kind) {
  if (page.markOf(object.row) === kind) state.marks.delete(object.row);
  else state.marks.set(object.row, kind);
  showMarks();
}

function showMarks() {
  const count = (kind) => [...state.marks.values()].filter((mark) => mark === kind).length;
  byId("marks").hidden = !state.marks.size;
  byId("marks-count").textContent = `${count("good")} good, ${count("bad")} bad`;
  byId("again").disabled = !count("good") && !Object.keys(state.query).length;
  for (const made of byId("cards").querySelectorAll("[data-row]")) {
    const found = page.markOf(Number(made.dataset.row));
    for (const kind of ["good", "bad"]) {
      made.classList.toggle(kind, found === kind);
      made.querySelector(`.mark-${kind}`).setAttribute("aria-pressed", String(found === kind));
    }
  }
}

// Filters ----------------------------------------------------------------------------------------------------------

function readFilters() {
  const texts = ["cone-ra", "cone-dec", "cone-radius"].map((name) => byId(name).value.trim());
  state.where = byId("where").value.trim();
  state.cone = null;
  if (texts.some(Boolean)) {
    const [ra, dec, arcsec] = texts.map((text) => (text === "" ? NaN : Number(text)));
    if (![ra, dec, arcsec].every(Number.isFinite) || !(arcsec > 0) || Math.abs(dec) > 90) {
      throw new api.Problem("A cone needs right ascension and declination in degrees, and a radius above 0 in arcseconds.");
    }
    state.cone = { ra, dec, arcsec };
  }
}

function writeFilters() {
  byId("where").value = state.where;
  const { ra = "", dec = "", arcsec = "" } = state.cone ?? {};
  [["cone-ra", ra], ["cone-dec", dec], ["cone-radius", arcsec]].forEach(([name, value]) => (byId(name).value = value));
  const active = [
    state.where && [state.where, () => (state.where = "")],
    state.cone && [`within ${shown(state.cone.arcsec)}\u2033 of ${shown(state.cone.ra)}, ${shown(state.cone.dec)}`, () => (state.cone = null)],
    state.among && [`among ${counted(state.among.length, "object", "objects")} of the map`, () => (state.among = null)],
  ].filter(Boolean);
  byId("filter-count").hidden = !active.length;
  byId("filter-count").textContent = active.length;
  byId("chips").replaceChildren(
    ...active.map(([text, remove]) =>
      element("li", {}, text, element("button", { type: "button", "aria-label": `Remove the filter ${text}`, onclick: () => { remove(); filtersChanged(); } }, "\u00d7")),
    ),
  );
}

function filtersChanged() {
  writeFilters();
  ask();
}

// The address, so that a reload and the browser's back button find the same ------------------------------------------

function address() {
  const { id, row, position: place } = state.query;
  const facts = {
    id,
    row,
    position: place?.join(","),
    vector: state.vector,
    in: state.in,
    k: byId("k").value,
    where: state.where || undefined,
    cone: state.cone ? [state.cone.ra, state.cone.dec, state.cone.arcsec].join(",") : undefined,
  };
  return `#${new URLSearchParams(Object.entries(facts).filter(([, value]) => value !== undefined && value !== null))}`;
}

function readAddress() {
  const facts = new URLSearchParams(location.hash.slice(1));
  const numbers = (name, count) => {
    const found = (facts.get(name) ?? "").split(",").map(Number);
    return facts.has(name) && found.length === count && found.every(Number.isFinite) ? found : null;
  };
  const kinds = Object.keys(state.about.kinds);
  const kind = (name) => (kinds.includes(facts.get(name)) ? facts.get(name) : kinds[0]);
  state.vector = kind("vector");
  state.in = facts.has("in") ? kind("in") : state.vector;
  if ([...byId("k").options].some((option) => option.value === facts.get("k"))) byId("k").value = facts.get("k");
  state.where = facts.get("where") ?? "";
  const cone = numbers("cone", 3);
  state.cone = cone && { ra: cone[0], dec: cone[1], arcsec: cone[2] };
  const [place, row] = [numbers("position", 2), numbers("row", 1)];
  state.query = facts.has("id") ? { id: facts.get("id") } : place ? { position: place } : row ? { row: row[0] } : {};
  showKinds();
  writeFilters();
}

function showKinds() {
  for (const name of ["vector", "in"]) {
    const chosen = document.querySelector(`input[name="${name}"][value="${CSS.escape(state[name])}"]`);
    if (chosen) chosen.checked = true;
  }
}

// Choices that depend on what there is ---------------------------------------------------------------------------------

function segments(box, name, choices, { type = "radio", changed }) {
  for (const [value, label, checked] of choices) {
    const id = `${name}-${value}`;
    box.append(element("input", { type, name, id, value, checked, onchange: changed }), element("label", { for: id }, label));
  }
  box.hidden = choices.length < 2;
}

function arrange(about) {
  document.title = `${about.name} \u2013 polycli`;
  byId("title").textContent = about.name;
  const kinds = Object.entries(about.kinds);
  byId("subtitle").textContent = `${counted(about.rows, "object", "objects")}; ${kinds.map(([kind, width]) => `${kind} ${width}`).join(", ")}${about.family ? `; ${about.family}` : ""}`;
  byId("query").placeholder = about.positions ? "Object id, or position: 150.12 2.21" : about.id_column ? `${about.id_column}` : "row number";
  const choices = kinds.map(([kind], index) => [kind, kind, index === 0]);
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
  segments(byId("vector-choice"), "vector", choices, { changed: () => { state.vector = chosen("vector"); ask(); } });
  segments(byId("in-choice"), "in", choices, { changed: () => { state.in = chosen("in"); ask(); } });
  const pictures = [["images", "images", true], ["curves", "spectra", true]].filter(([kind]) => about[kind]);
  segments(byId("show-choice"), "show", pictures, { type: "checkbox", changed: showPictures });
  byId("cone").hidden = !about.positions;
  const numbers = about.columns.filter(({ kind }) => kind === "number").map(({ name }) => name);
  byId("where").placeholder = numbers.includes("redshift") ? "redshift < 0.1" : numbers.length ? `${numbers[numbers.length - 1]} > 0` : "column == 'value'";
  document.body.classList.toggle("no-images", !about.images);
  byId("map-panel").hidden = !about.map;
  byId("map-jump").hidden = !about.map;
  byId("map-jump").addEventListener("click", () => byId("map-panel").scrollIntoView());
  document.body.classList.toggle("with-map", Boolean(about.map));
  chooseColumns(about);
  welcome(about);
}

function showPictures() {
  for (const kind of ["images", "curves"]) {
    const box = document.querySelector(`input[name="show"][value="${kind}"]`);
    document.body.classList.toggle(`hide-${kind}`, Boolean(box) && !box.checked);
  }
  redraw();
}

function chooseColumns(about) {
  const key = `columns of ${about.name}`;
  const dull = /^(ra|dec|_?healpix.*|quality|split|_.*)$/i;
  const names = about.columns.map(({ name }) => name).filter((name) => name !== about.id_column);
  const kept = JSON.parse(localStorage.getItem(key) ?? "null")?.filter((name) => names.includes(name));
  const interesting = names.filter((name) => !dull.test(name));
  const first = [...interesting.filter((name) => /^redshift$/i.test(name)), ...interesting.filter((name) => !/^redshift$/i.test(name))];
  state.columns = kept ?? first.slice(0, about.images ? 3 : 6);
  const changed = () => {
    state.columns = [...byId("column-list").querySelectorAll("input:checked")].map((box) => box.value);
    localStorage.setItem(key, JSON.stringify(state.columns));
    if (state.answer) guarded(() => showAnswer(state.answer));
  };
  byId("column-list").replaceChildren(
    ...names.map((name) => element("label", {}, element("input", { type: "checkbox", value: name, checked: state.columns.includes(name), onchange: changed }), name)),
  );
  byId("columns").hidden = !names.length;
}

function welcome(about) {
  const ways = [about.id_column ? "an id" : "a row number", about.positions ? "a position" : null, about.uploads ? "a FITS file dropped here" : null].filter(Boolean);
  const rest = about.map ? " A point of the map does, too." : "";
  byId("empty").replaceChildren(
    element("h2", {}, "What looks like this one?"),
    element("p", {}, `Start from ${ways.join(", or ")}.${rest} Neighbours then can be marked as good and bad, to search again.`),
    element("div", { class: "row" }, ...about.examples.map(({ row, id }) => element("button", { type: "button", onclick: () => ask({ row }) }, id))),
  );
  byId("empty").hidden = false;
}

// Exports ----------------------------------------------------------------------------------------------------------

async function exportList(format) {
  const rows = state.listed.map(({ row, similarity = null }) => ({ row, similarity, mark: page.markOf(row) }));
  const { name, content } = await api.exported(format, rows);
  const link = element("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Beginning ----------------------------------------------------------------------------------------------------------

function listen() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("query").value.trim();
    if (!text) return;
    const place = state.about.positions ? position(text) : null;
    const row = /^row\s+(\d+)$/i.exec(text) ?? (state.about.id_column ? null : /^(\d+)$/.exec(text));
    ask(place ? { position: place } : row ? { row: Number(row[1]) } : { id: text });
  });
  byId("k").addEventListener("change", () => ask());
  byId("filter-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(() => {
      readFilters();
      byId("filters").open = false;
      filtersChanged();
    });
  });
  byId("filters-clear").addEventListener("click", () => {
    Object.assign(state, { where: "", cone: null, among: null });
    filtersChanged();
  });
  byId("again").addEventListener("click", () => ask());
  byId("marks-clear").addEventListener("click", () => {
    state.marks.clear();
    showMarks();
  });
  for (const format of ["csv", "json"]) byId(`export-${format}`).addEventListener("click", () => guarded(() => exportList(format)));
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
  });
  byId("cards").addEventListener("details", (event) => page.details(state.listed.find(({ row }) => row === Number(event.target.dataset.row))));
  window.addEventListener("popstate", () => {
    readAddress();
    ask(state.query, { remember: false });
  });
  keys({ page, listed: () => state.listed, again: () => byId("again").click(), exportList: () => guarded(() => exportList("csv")) });
}

async function start() {
  startTheme(() => { redraw(); map?.draw(); });
  state.about = await api.about();
  arrange(state.about);
  listen();
  readAddress();
  startFiles(state.about, { upload: (file) => guarded(() => dropped(file)), tell });
  ask(state.query, { remember: false });
  if (state.about.map) {
    map = await startMap(state.about, {
      pick: (row) => ask({ row }),
      listRows: (rows) => guarded(() => listRows(rows)),
      among: (rows) => { state.among = rows; filtersChanged(); },
      guarded,
    });
    if (state.answer) map.highlight(state.answer.query.row ?? null, state.answer.neighbours.map(({ row }) => row));
  }
}

async function dropped(file) {
  document.body.classList.add("busy");
  byId("summary").textContent = `Reading ${file.name}\u2026`;
  try {
    const found = await api.upload(file);
    if (!found.kinds.includes(state.vector)) {
      // A spectrum is looked for among spectra, unless both choices were different before.
      if (state.in === state.vector) state.in = found.kinds[0];
      state.vector = found.kinds[0];
      showKinds();
    }
    await ask({ upload: found.upload }, { remember: false });
  } finally {
    document.body.classList.remove("busy");
  }
}

guarded(start);
