"""The folder that the pages of the documentation speak of: a.jpg, b.jpg, ..., photos/ and its gallery."""

import csv
from pathlib import Path

from lookalike import scenes
from lookalike.gallery import Gallery


def site_folder(folder: Path) -> Path:
    """a.jpg and b.jpg share a painting, c.jpg is another room; photos/ has two rooms for each of four."""
    first, second, _ = scenes.room_pair(1)
    for names, image in ((("a", "photo", "wall", "query"), first), (("b", "painting"), second)):
        for name in names:
            image.image.save(folder / f"{name}.jpg")
    scenes.room(9, paintings=[7]).image.save(folder / "c.jpg")
    rows = []
    for painting in range(4):
        (folder / f"photos/painting-{painting}").mkdir(parents=True)
        for view in range(2):
            file = f"photos/painting-{painting}/{view}.jpg"
            room = scenes.room(2 * painting + view, paintings=[painting], size=(96, 128))
            room.image.save(folder / file)
            rows.append((file, f"SKU{painting}", 5.5 + 5 * painting))
    with (folder / "products.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("path", "sku", "price"), *rows])
    Gallery.create(folder / "photos.gallery").add(
        folder / "photos", metadata=lambda file: {"label": file.parent.name}
    )
    return folder
