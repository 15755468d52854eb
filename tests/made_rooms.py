"""Generated rooms as files."""


def save_rooms(rooms, folder):
    """Each room in the folder of its painting; the files in the order of the rooms."""
    files = []
    for i, (room, label) in enumerate(zip(rooms.rooms, rooms.labels, strict=True)):
        files.append(folder / f"painting {label}" / f"room-{i:02}.png")
        files[-1].parent.mkdir(exist_ok=True)
        room.image.save(files[-1])
    return files
