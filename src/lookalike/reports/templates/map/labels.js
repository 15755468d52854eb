// Labels of clusters: beside the most typical picture of each, with that picture; of those that would overlap, the larger cluster's.

import { make } from "./make.js";

const GAP = 6; // CSS pixels
const LABEL_SIDE = 96; // pixels of the picture that is asked for

export class ClusterLabels {
  constructor(layer) {
    Object.assign(this, { layer, labels: [] });
  }

  show(clusters, source, colorOf) {
    this.labels = clusters.filter(({ typical }) => typical.length).map((cluster) => {
      const image = make("img", { alt: "", draggable: false, width: 34, height: 34 });
      const label = make("div", { className: "map-label", hidden: true }, image, make("span", { textContent: cluster.title.slice(cluster.title.indexOf(": ") + 1).trim() })); // the value alone: "field: " is in the list
      label.dataset.pick = `cluster:${cluster.number}`;
      label.style.borderColor = colorOf(cluster.number);
      return { label, image, row: cluster.typical[0], isLoaded: false };
    });
    this.source = source;
    this.layer.replaceChildren(...this.labels.map(({ label }) => label));
    for (const each of this.labels) {
      each.label.hidden = false;
      [each.width, each.height] = [each.label.offsetWidth, each.label.offsetHeight];
    }
  }

  place(map) {
    const taken = [], far = map.radius + 6;
    for (const each of this.labels) {
      const { width, height } = each, [x, y] = map.pixelOf(map.points.x[each.row], map.points.y[each.row]);
      const isSeen = x >= 0 && y >= 0 && x <= map.width && y <= map.height;
      const around = [[x - width / 2, y - height - far], [x - width / 2, y + far], [x + far, y - height / 2], [x - width - far, y - height / 2]];
      const found = isSeen && around.find(([left, top]) => {
        const isInside = left >= 0 && top >= 0 && left + width <= map.width && top + height <= map.height;
        return isInside && !taken.some((other) => left < other[2] && other[0] < left + width && top < other[3] && other[1] < top + height);
      });
      each.label.style.visibility = found ? "visible" : "hidden";
      if (!found) continue;
      const [left, top] = found.map(Math.round);
      taken.push([left - GAP, top - GAP, left + width + GAP, top + height + GAP]);
      each.label.style.transform = `translate(${left}px, ${top}px)`;
      if (!each.isLoaded) this.source.show(each.image, each.row, LABEL_SIDE);
      each.isLoaded = true;
    }
  }
}
