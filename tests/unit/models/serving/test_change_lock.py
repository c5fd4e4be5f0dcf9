"""Who may change which model. The locks are real files."""

import asyncio
from pathlib import Path

import pytest

from app.errors import ModelNotReady
from models.serving import change_lock as turns
from models.serving.change_lock import ChangeLock


async def test_processes_with_one_directory_take_turns(tmp_path: Path) -> None:
    here, there = ChangeLock(tmp_path / "var"), ChangeLock(tmp_path / "var")
    inside: list[str] = []

    async def change(who: ChangeLock, name: str) -> None:
        async with who.turn(name):
            assert name not in inside
            inside.append(name)
            await asyncio.sleep(0)
            inside.remove(name)

    await asyncio.gather(*(change(who, name) for who in (here, there) * 5 for name in ("a", "b")))
    assert not here.taken("a")


async def test_a_turn_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    here, there = ChangeLock(tmp_path), ChangeLock(tmp_path)
    async with here.turn("a"):
        assert here.taken("a")
        for other in (here, there):
            with pytest.raises(ModelNotReady, match="'a' is being changed by others"):
                async with other.turn("a"):
                    pass
        async with there.turn("b"):
            pass
    async with there.turn("a"):
        pass


async def test_fault_079_where_no_lock_can_be_written_changes_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with ChangeLock(tmp_path / "file" / "var").turn("a"):
        pass
