// Asks the server: every address of it that the page uses, and what becomes of errors.

export class Problem extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer.", "is polycli serve still running?");
  }
  if (response.ok) return response;
  const found = await response.json().catch(() => ({}));
  const { message, hint } = found.error ?? {};
  throw new Problem(message ?? `The server answered ${response.status}.`, hint);
}

function sent(document) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(document) };
}

export async function about() {
  return (await answered("/api/about")).json();
}

export async function search(wanted, signal) {
  return (await answered("/api/search", { ...sent(wanted), signal })).json();
}

export async function rows(wanted) {
  return (await (await answered("/api/rows", sent({ rows: wanted }))).json()).rows;
}

export async function curves(wanted) {
  return wanted.length ? (await answered(`/api/curves?rows=${wanted.join(",")}`)).json() : {};
}

export async function upload(file) {
  const body = new FormData();
  body.append("file", file, file.name);
  return (await answered("/api/upload", { method: "POST", body })).json();
}

export async function floats(address) {
  const buffer = await (await answered(address)).arrayBuffer();
  return new Float32Array(buffer);
}

export async function exported(format, list) {
  const response = await answered("/api/export", sent({ format, rows: list }));
  const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1];
  return { name: name ?? `neighbours.${format}`, content: await response.blob() };
}

export async function droppedCurve(token) {
  return (await answered(`/api/upload/${token}/curve`)).json();
}

export const droppedImage = (token, size) => `/api/upload/${token}/image?size=${size}`;

export const imageAddress = (row, size) => `/api/image/${row}?size=${size}`;
