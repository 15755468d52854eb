// The query picture: dropped, pasted, chosen or from the gallery; it can be enlarged to draw on it.

import { showPicture } from "./api.js";
import { byId } from "./dom.js";
import { clearMap, drawMap, fitFrame, perPercent } from "./heat.js";
import { Finder } from "./found.js";
import { attempt, showMessage } from "./messages.js";
import { filesOf, Queue } from "./queue.js";
import { Regions } from "./regions.js";

const LARGEST = 2048; // pixels of the longer side that the server gives

export class QueryPanel {
  constructor({ onFile, onSearch, onClear }) {
    this.queue = new Queue({ onFile });
    this.regions = new Regions({ onSearch });
    this.finder = new Finder({ onFound: (matches) => this.#showFound(matches) });
    fitFrame(byId("query-frame"), byId("query-image"));
    byId("choose").onclick = () => byId("file").click();
    byId("file").onchange = () => {
      const files = [...byId("file").files]; // setting the value empties it
      byId("file").value = "";
      this.queue.take(files);
    };
    byId("new-query").onclick = onClear;
    byId("enlarge").onclick = () => this.#enlarge();
    byId("large").addEventListener("close", () => byId("query-place").append(byId("query-frame")));
    byId("close-large").onclick = () => byId("large").close();
    this.#listenToDrops();
  }

  show(gallery, { id, name }, regions = [], active = -1) {
    byId("drop").hidden = true;
    byId("query").hidden = false;
    byId("query-name").textContent = byId("query-name").title = name;
    this.shown = [gallery, id];
    this.finder.show(gallery, id);
    this.queue.show(id);
    showPicture(byId("query-image"), gallery, id, 1024);
    this.regions.reset(regions, active);
    this.clearMap();
  }

  hide() {
    byId("drop").hidden = false;
    byId("query").hidden = true;
    this.finder.stop();
    this.queue.show(null);
    this.regions.reset();
  }

  showMap(map, geometry, limit) {
    drawMap(byId("query-heat"), perPercent(map), geometry, limit);
  }

  clearMap() {
    clearMap(byId("query-heat"));
  }

  // What was found was verified by geometry, and so is the search by its box.
  #showFound(matches) {
    byId("rerank").value = "geometry";
    return this.regions.addFound(matches.map(({ box, name }) => ({ box: box.map((side) => Math.round(side * 10) / 10), name })));
  }

  // The same frame in a dialog as large as the window, at the full resolution that the server gives.
  #enlarge() {
    byId("large-place").append(byId("query-frame"));
    byId("large").showModal();
    showPicture(byId("query-image"), ...this.shown, LARGEST);
    byId("query-frame").focus();
  }

  #listenToDrops() {
    const body = document.body;
    body.addEventListener("dragover", (event) => {
      event.preventDefault();
      body.classList.add("dropping");
    });
    body.addEventListener("dragleave", (event) => event.relatedTarget ?? body.classList.remove("dropping"));
    body.addEventListener("drop", (event) => {
      event.preventDefault();
      body.classList.remove("dropping");
      attempt(async () => {
        const files = await filesOf(event.dataTransfer);
        if (!this.queue.take(files) && files.length) showMessage("None of the files that were dropped is a picture.", true);
      });
    });
    document.addEventListener("paste", (event) => {
      this.queue.take([...event.clipboardData.files]);
    });
  }
}
