"""The checkpoint protocol on an object store: parts first, manifest last; what is read is verified.

Knows bytes and names, no tensor. A folder without a manifest is a save that was cut short: it is never read. Beside its parts a folder may hold two
marks: ``quarantined.json``, for one that was found damaged, which is no longer taken, and ``pinned.json``, for one that is kept for good.

    checkpoints = Checkpoints(open_store("file:///runs/one"))
    manifest = checkpoints.save(facts, {"generator.npz": data})
    manifest, parts = checkpoints.restore()
"""

import dataclasses
import datetime
import hashlib
import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from job.checkpoints import manifest as manifests
from job.checkpoints.manifest import BadManifest, Manifest, Part, folder_of
from job.config.errors import StorageError
from job.config.text import counted
from job.storage.atomic import remove_leftovers
from job.storage.store import ObjectInfo, ObjectMissing, ObjectStore

log = logging.getLogger("dcgan.checkpoint")

ROOT = "checkpoints/"
QUARANTINED, PINNED = "quarantined.json", "pinned.json"
_OBJECT = re.compile(rf"{ROOT}step-(\d{{9,12}})/([^/]+)", re.ASCII)
_MARK_BYTES = 4096
_PIECE_BYTES = 1 << 26

Persist = Callable[[Callable[[], object]], object]
Fence = Callable[[], None]
Choose = Callable[[Manifest], Collection[str] | None]


class DamagedPart(StorageError):
    """A part of a committed checkpoint that is not what its manifest says."""


class Folder(NamedTuple):
    """What a listing shows of one checkpoint: ``objects`` by their names in the folder."""

    step: int
    objects: dict[str, ObjectInfo]

    @property
    def is_committed(self) -> bool:
        """A manifest stands, readable or not."""
        return manifests.NAME in self.objects

    @property
    def is_quarantined(self) -> bool:
        return QUARANTINED in self.objects

    @property
    def is_pinned(self) -> bool:
        return PINNED in self.objects

    def damage(self, manifest: Manifest) -> str | None:
        """What the listing alone shows to be wrong with the parts."""
        for part in manifest.parts:
            found = self.objects.get(part.name)
            if found is None:
                return f"{part.name}: missing; expected {part.num_bytes} bytes"
            if found.num_bytes != part.num_bytes:
                return f"{part.name}: {found.num_bytes} bytes; expected {part.num_bytes}"
        return None


class Checkpoints:
    """The checkpoints below a run folder."""

    def __init__(self, store: ObjectStore):
        self._store = store

    def uri(self, step: int) -> str:
        """The checkpoint's folder as a URI, ready for ``dcgan-train generate``."""
        return f"{self._store.uri.rstrip('/')}/{folder_of(step).rstrip('/')}"

    def save(
        self,
        facts: Manifest,
        parts: Mapping[str, bytes],
        persist: Persist = lambda request: request(),
        fence: Fence = lambda: None,
    ) -> Manifest:
        """Commit ``parts`` as the checkpoint of ``facts.step`` (whose own ``parts`` are not looked at); gives the manifest as written.

        ``persist`` makes each request, and may repeat it: any of them can be made twice. ``fence`` raises where another job has taken the run
        folder meanwhile; it is asked before each change, also before one that is made again after an outage.
        """
        folder = facts.folder
        self._remove_leftovers(folder)

        def fenced(request: Callable[[], object]) -> None:
            def once() -> None:
                fence()
                request()

            persist(once)

        fenced(
            lambda: self._store.delete(folder + manifests.NAME)
        )  # a re-made step is uncommitted until its new manifest stands
        listed = []
        for name, data in parts.items():
            fenced(lambda name=name, data=data: self._store.write(folder + name, data))  # type: ignore[misc]
            listed.append(Part(name, len(data), hashlib.sha256(data).hexdigest()))
        committed = dataclasses.replace(facts, parts=tuple(listed))
        fenced(lambda: self._store.delete(folder + QUARANTINED))
        fenced(lambda: self._store.write(folder + manifests.NAME, committed.to_json()))
        return committed

    def folders(self, step: int | None = None) -> list[Folder]:
        """Every checkpoint's folder, newest first, committed or not, or only that of ``step``; other objects are not shown."""
        found = (
            (match[1], match[2], entry)
            for entry in self._store.list(ROOT if step is None else folder_of(step))
            # A step has one folder: with other leading zeros it is somebody else's.
            if (match := _OBJECT.fullmatch(entry.key))
            and entry.key == folder_of(int(match[1])) + match[2]
        )
        folders = [
            Folder(int(digits), {name: entry for _, name, entry in entries})
            for digits, entries in groupby(found, key=lambda item: item[0])
        ]
        return sorted(folders, key=lambda folder: folder.step, reverse=True)

    def committed(self) -> list[Manifest]:
        """All manifests, newest first, at the price of a request for each: where the newest is enough, take the first of ``readable``."""
        return [manifest for _, manifest in self.readable()]

    def readable(self, step: int | None = None) -> Iterator[tuple[Folder, Manifest]]:
        """Yield folders with a good manifest, newest first, or only that of ``step``; each manifest is read when its turn comes.

        A quarantined one is passed over, and with a warning one that cannot be read.
        """
        for folder in self.folders(step):
            if not folder.is_committed or folder.is_quarantined:
                continue
            try:
                yield folder, self.manifest(folder.step)
            except ObjectMissing:
                continue  # deleted since it was listed
            except BadManifest as error:
                log.warning("checkpoint passed over: %s", error)

    def manifest(self, step: int) -> Manifest:
        """Return the manifest of ``step``, in one request; ``BadManifest`` if it is not one, ``ObjectMissing`` if there is none."""
        key = folder_of(step) + manifests.NAME
        uri = f"{self._store.uri.rstrip('/')}/{key}"
        manifest = manifests.parse_manifest(
            self._store.read_range(key, 0, manifests.MAX_BYTES + 1), uri
        )
        if manifest.step != step:
            raise BadManifest(
                f"{uri}: says it is step {manifest.step}; expected the step of its folder"
            )
        return manifest

    def restore(
        self, step: int | None = None, choose: Choose = lambda manifest: None
    ) -> tuple[Manifest, dict[str, bytes]] | None:
        """Return the newest checkpoint whose parts verify, with them; None if none is committed.

        ``step`` restricts it to that step, and ``choose`` to the parts it names (None: to all); what it raises ends the search.

        ``StorageError`` if some are committed and none verifies: to start over would bury what can perhaps be saved.
        """
        number, damage = 0, ""
        for _, manifest in self.readable(step):
            number += 1
            try:
                return manifest, self.read(manifest, choose(manifest))
            except DamagedPart as error:
                log.warning("checkpoint passed over: %s", error)
                damage = str(error)
        if number:
            raise self.none_whole(number, damage)
        return None

    def read(self, manifest: Manifest, names: Collection[str] | None = None) -> dict[str, bytes]:
        """Return every part, or those of ``names``, verified; ``DamagedPart`` names the first that is not what the manifest says."""
        return {
            part.name: self._read_part(manifest, part)
            for part in manifest.parts
            if names is None or part.name in names
        }

    def damage(self, folder: Folder) -> str | None:
        """What is wrong with a committed checkpoint, every byte of it read; None for a whole one, and for a folder without a manifest."""
        if not folder.is_committed:
            return None
        try:
            manifest = self.manifest(folder.step)
            for part in manifest.parts:
                self._check_part(manifest, part, self._sha256_in_pieces)
        except (BadManifest, DamagedPart) as error:
            return str(error)
        return None

    def none_whole(self, number: int, damage: str) -> StorageError:
        """The error where checkpoints are there and none can be taken."""
        return StorageError(
            f"{self._store.uri}: {counted(number, 'checkpoint')}, none of them whole ({damage}); expected at least one."
            " Restore its files, or train into another run folder (uri)"
        )

    def quarantine(self, manifest: Manifest, reason: str) -> None:
        """Mark it as damaged, so that it is not taken again; its files stay."""
        self._mark(manifest.step, QUARANTINED, reason)
        log.warning("checkpoint quarantined: %s", reason)

    def release(self, step: int) -> None:
        """Take the mark away again."""
        self._store.delete(folder_of(step) + QUARANTINED)

    def pin(self, step: int) -> None:
        """Keep it for good, whatever the configuration says; ``StorageError`` where it is not committed."""
        if step not in (folder.step for folder in self.folders(step) if folder.is_committed):
            raise StorageError(
                f"{self._store.uri}: no committed checkpoint of step {step}; expected one that `checkpoints list` shows"
            )
        self._mark(step, PINNED, "by hand")

    def unpin(self, step: int) -> None:
        """Leave it to the configuration again; ``StorageError`` where no such checkpoint is pinned."""
        if step not in (folder.step for folder in self.folders(step) if folder.is_pinned):
            raise StorageError(
                f"{self._store.uri}: step {step} is not pinned; expected one that `checkpoints list` shows as pinned"
            )
        self._store.delete(folder_of(step) + PINNED)

    def why_quarantined(self, folder: Folder) -> str:
        """What was found damaged, as it was written down then."""
        try:
            told = json.loads(
                self._store.read_range(folder_of(folder.step) + QUARANTINED, 0, _MARK_BYTES)
            )
            return "".join(
                letter if letter.isprintable() else "?" for letter in str(told["reason"])
            )
        except (ValueError, KeyError, TypeError, RecursionError, ObjectMissing):
            return "no reason was written down"

    def delete(self, folder: Folder) -> None:
        """Remove it, its manifest first, so that none is ever committed and incomplete; files that are not ours stay."""
        base = folder_of(folder.step)
        self._remove_leftovers(base)
        if folder.is_committed:
            self._store.delete(base + manifests.NAME)
        for name in folder.objects:
            if manifests.PART_NAME.fullmatch(name) or name in (QUARANTINED, PINNED):
                self._store.delete(base + name)

    def _remove_leftovers(self, folder: str) -> None:
        """What a killed process was writing; on an object store there is no such thing."""
        if path := self._store.local_path(folder + manifests.NAME):
            remove_leftovers(path.parent)

    def _mark(self, step: int, name: str, reason: str) -> None:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._store.write(
            folder_of(step) + name,
            json.dumps({"since": since, "reason": reason[:1000]}, indent=2).encode(),
        )

    def _sha256_in_pieces(self, key: str, num_bytes: int) -> str:
        """However large the object is, it is never in memory whole."""
        sha256 = hashlib.sha256()
        for start in range(0, num_bytes, _PIECE_BYTES):
            sha256.update(self._store.read_range(key, start, min(_PIECE_BYTES, num_bytes - start)))
        return sha256.hexdigest()

    def _read_part(self, manifest: Manifest, part: Part) -> bytes:
        read: dict[str, bytes] = {}

        def sha256(key: str, num_bytes: int) -> str:
            read[key] = self._store.read(key)
            return hashlib.sha256(read[key]).hexdigest()

        self._check_part(manifest, part, sha256)
        return read[manifest.folder + part.name]

    def _check_part(
        self, manifest: Manifest, part: Part, sha256_of: Callable[[str, int], str]
    ) -> None:
        """``DamagedPart`` where it is not what the manifest says; nothing is read of a part that has another size."""
        uri = f"{self.uri(manifest.step)}/{part.name}"
        found = self._store.stat(manifest.folder + part.name)
        if found is None:
            raise DamagedPart(f"{uri}: missing; expected {part.num_bytes} bytes")
        if found.num_bytes != part.num_bytes:
            raise DamagedPart(f"{uri}: {found.num_bytes} bytes; expected {part.num_bytes}")
        try:
            sha256 = sha256_of(manifest.folder + part.name, part.num_bytes)
        except ObjectMissing:
            raise DamagedPart(f"{uri}: missing; expected {part.num_bytes} bytes") from None
        if sha256 != part.sha256:
            raise DamagedPart(f"{uri}: SHA-256 {sha256}; expected {part.sha256}")
