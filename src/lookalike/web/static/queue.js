// Several pictures that were dropped or chosen together: each is a query of its own, one after the other.

import { byId } from "./dom.js";

export class Queue {
  // `onFile(file, onId)` searches with one of them and says under which id it is on the server.
  constructor({ onFile }) {
    Object.assign(this, { onFile, files: [], ids: [], at: -1 });
    byId("previous-query").onclick = () => this.#open(this.at - 1);
    byId("next-query").onclick = () => this.#open(this.at + 1);
  }

  // Take files in place of those before. Returns how many pictures were among them.
  take(files) {
    const pictures = files.length > 1 ? files.filter(isPicture).sort(byName) : files; // a single one may have any name
    if (pictures.length) {
      Object.assign(this, { files: pictures, ids: [] });
      this.#open(0);
    }
    return pictures.length;
  }

  // A query is shown, or none: say where it stands, if it is one of the files.
  show(id) {
    if (this.ids[this.at] !== id) this.at = this.ids.indexOf(id);
    this.#draw();
  }

  #open(index) {
    if (!this.files[index]) return;
    this.at = index;
    this.#draw();
    this.onFile(this.files[index], (id) => (this.ids[index] = id));
  }

  #draw() {
    const n = this.files.length;
    byId("queue").hidden = n < 2 || this.at < 0;
    byId("queue-at").textContent = `Picture ${this.at + 1} of ${n}`;
    byId("previous-query").setAttribute("aria-disabled", String(this.at === 0)); // a disabled button would lose the focus
    byId("next-query").setAttribute("aria-disabled", String(this.at === n - 1));
  }
}

// The files of a drop, and those in the folders of it.
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // before any await: it is emptied
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (;;) { // it gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found.flat();
    found.push(...(await Promise.all(some.map(filesIn))));
  }
}

const isPicture = ({ name, type }) => type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$/i.test(name);
const byName = (a, b) => (a.webkitRelativePath || a.name).localeCompare(b.webkitRelativePath || b.name, undefined, { numeric: true });
