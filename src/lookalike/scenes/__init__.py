"""Generated rooms with paintings: demo data with exact ground truth."""

from lookalike.scenes.paintings import paint, painting_format
from lookalike.scenes.pairs import RoomGallery, gallery_of_rooms, room_pair
from lookalike.scenes.room_files import write_room_pairs
from lookalike.scenes.rooms import Room, room

__all__ = [
    "Room",
    "RoomGallery",
    "gallery_of_rooms",
    "paint",
    "painting_format",
    "room",
    "room_pair",
    "write_room_pairs",
]
