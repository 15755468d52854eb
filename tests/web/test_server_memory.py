"""A server returns free memory to the system, and only after there was work."""

import asyncio

from lookalike.web import memory


def trims(monkeypatch, was_busy):
    asked, trimmed = iter(was_busy), []

    class Library:
        def malloc_trim(self, padding):
            trimmed.append(padding)

    monkeypatch.setattr(memory, "glibc", Library)
    monkeypatch.setattr(memory, "_SECONDS", 0.001)
    is_over = asyncio.Event()

    def next_answer():
        answer = next(asked, None)
        if answer is None:
            is_over.set()
        return bool(answer)

    async def run():
        task = asyncio.create_task(memory.returning_memory(next_answer))
        await is_over.wait()
        task.cancel()

    asyncio.run(run())
    return len(trimmed)


def test_memory_is_returned_after_work(monkeypatch):
    assert trims(monkeypatch, [True, False, True]) == 2


def test_an_idle_server_does_nothing(monkeypatch):
    assert trims(monkeypatch, [False, False]) == 0


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory, "glibc", lambda: None)
    asyncio.run(memory.returning_memory(lambda: True))  # ends at once
