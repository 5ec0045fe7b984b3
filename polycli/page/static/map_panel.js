// The panel of the map: colours and their legend, zoom, lasso, what is under the pointer, what was selected.

import { floats, imageAddress, rows as rowsOf } from "/static/api.js";
import { viridis } from "/static/draw.js";
import { byId, counted, element, shown } from "/static/format.js";
import { PointMap } from "/static/map.js";

const METHODS = { umap: "UMAP", pca: "Principal components" };

export async function startMap(about, { pick, listRows, among, guarded }) {
  const points = await floats("/api/map");
  let selected = [];
  const map = new PointMap(byId("map"), points, { pick, hover, lassoed });
  byId("map-caption").textContent = `${METHODS[about.map.method] ?? about.map.method} of the ${about.map.kind} vectors. A click searches from a point.`;

  const numbers = about.columns.filter(({ kind, name }) => kind !== "text" && name !== about.id_column && !/^_?healpix/.test(name));
  byId("colour").append(element("option", { value: "" }, "none"), ...numbers.map(({ name }) => element("option", { value: name }, name)));
  byId("colour").addEventListener("change", () => guarded(colour));
  if (numbers.some(({ name }) => name === "redshift")) byId("colour").value = "redshift";
  await colour();

  async function colour() {
    const name = byId("colour").value;
    map.colour(name ? await floats(`/api/map/${encodeURIComponent(name)}`) : null);
    byId("legend").hidden = !name;
    if (!name) return;
    const context = byId("legend-bar").getContext("2d");
    for (let x = 0; x < 256; x++) {
      context.fillStyle = viridis(x / 255);
      context.fillRect(x, 0, 1, 1);
    }
    byId("legend-low").textContent = shown(map.scale[0]);
    byId("legend-high").textContent = shown(map.scale[1]);
  }

  let hovered = null;
  let waiting = null;
  function hover(row, x, y) {
    const tip = byId("tip");
    clearTimeout(waiting);
    if (row === null) {
      tip.hidden = true;
      hovered = null;
      return;
    }
    if (row !== hovered) {
      hovered = row;
      waiting = setTimeout(async () => {
        const [object] = await rowsOf([row]).catch(() => []);
        if (!object || hovered !== row) return;
        const value = byId("colour").value;
        tip.replaceChildren(
          ...(about.images ? [element("img", { src: imageAddress(row, 160), alt: "" })] : []),
          element("div", {}, object.id),
          ...(value ? [element("div", {}, `${value} ${shown(object.columns[value])}`)] : []),
        );
        tip.hidden = false;
        place(x, y);
      }, 120);
    } else place(x, y);
  }

  function place(x, y) {
    const tip = byId("tip");
    const box = byId("map").getBoundingClientRect();
    tip.style.left = `${Math.min(x + 14, box.width - tip.offsetWidth - 6)}px`;
    tip.style.top = `${Math.max(6, Math.min(y + 14, box.height - tip.offsetHeight - 6))}px`;
  }

  function lassoed(rows) {
    selected = rows;
    map.select(rows);
    byId("selection").hidden = false;
    byId("selection-count").textContent = `${counted(rows.length, "object", "objects")} selected`;
    for (const name of ["selection-show", "selection-among"]) byId(name).disabled = !rows.length;
    setLasso(false);
  }

  function setLasso(on) {
    byId("lasso").setAttribute("aria-pressed", String(on));
    map.setLasso(on);
  }

  byId("lasso").addEventListener("click", () => setLasso(byId("lasso").getAttribute("aria-pressed") !== "true"));
  byId("zoom-in").addEventListener("click", () => map.zoom(1.5));
  byId("zoom-out").addEventListener("click", () => map.zoom(1 / 1.5));
  byId("zoom-reset").addEventListener("click", () => map.reset());
  byId("selection-show").addEventListener("click", () => listRows(selected));
  byId("selection-among").addEventListener("click", () => among(selected));
  byId("selection-clear").addEventListener("click", () => {
    selected = [];
    map.select([]);
    byId("selection").hidden = true;
  });
  return map;
}
