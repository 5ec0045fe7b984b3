// Files that are dropped on the page or chosen: looked at before they are sent, so that a refusal comes at once.

import { Problem } from "/static/api.js";
import { byId } from "/static/format.js";

export function startFiles(about, { upload, tell }) {
  const take = (file) => {
    const { uploads } = about;
    if (!uploads) {
      tell(new Problem("Files cannot be embedded: this server was started without a checkpoint.", "polycli serve EMBEDDINGS --checkpoint RUN"));
    } else if (file.size > uploads.largest) {
      tell(new Problem(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MiB, and at most ${Math.floor(uploads.largest / 2 ** 20)} are taken.`));
    } else if (!uploads.endings.some((ending) => file.name.toLowerCase().endsWith(ending))) {
      tell(new Problem(`${file.name} is of another type than is taken here: ${uploads.endings.join(", ")}.`));
    } else {
      upload(file);
    }
  };
  const chooser = byId("file");
  if (about.uploads) {
    byId("file-choose").hidden = false;
    chooser.accept = about.uploads.endings.join(",");
    byId("file-choose").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      if (chooser.files.length) take(chooser.files[0]);
      chooser.value = "";
    });
  }
  let depth = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const shown = (count) => {
    depth = count;
    byId("drop").hidden = depth <= 0;
  };
  window.addEventListener("dragenter", (event) => holdsFiles(event) && shown(depth + 1));
  window.addEventListener("dragleave", (event) => holdsFiles(event) && shown(depth - 1));
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    shown(0);
    if (event.dataTransfer?.files.length) take(event.dataTransfer.files[0]);
  });
}
