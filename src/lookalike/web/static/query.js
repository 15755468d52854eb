// The query picture: dropped, pasted, chosen or from the gallery; it can be enlarged to draw on it.

import { showPicture } from "./api.js";
import { byId } from "./dom.js";
import { clearMap, drawMap, fitFrame, perPercent } from "./heat.js";
import { Regions } from "./regions.js";

const LARGEST = 2048; // pixels of the longer side that the server gives

export class QueryPanel {
  constructor({ onFile, onSearch, onClear }) {
    this.onFile = onFile;
    this.regions = new Regions({ onSearch });
    fitFrame(byId("query-frame"), byId("query-image"));
    byId("choose").onclick = () => byId("file").click();
    byId("file").onchange = () => {
      const [file] = byId("file").files;
      byId("file").value = "";
      if (file) onFile(file);
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
    showPicture(byId("query-image"), gallery, id, 1024);
    this.regions.reset(regions, active);
    this.clearMap();
  }

  hide() {
    byId("drop").hidden = false;
    byId("query").hidden = true;
    this.regions.reset();
  }

  showMap(map, geometry, limit) {
    drawMap(byId("query-heat"), perPercent(map), geometry, limit);
  }

  clearMap() {
    clearMap(byId("query-heat"));
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
      const [file] = event.dataTransfer.files;
      if (file) this.onFile(file);
    });
    document.addEventListener("paste", (event) => {
      const [file] = event.clipboardData.files;
      if (file) this.onFile(file);
    });
  }
}
