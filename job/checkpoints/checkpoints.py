"""The checkpoint protocol on an object store: parts first, manifest last; reads are verified.

Knows bytes and names, no tensor. A folder without a manifest is an interrupted save and is never
read. Two marks may lie beside the parts: ``quarantined.json`` on a damaged checkpoint, which is
no longer used, and ``pinned.json`` on one that is kept for good.

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
from job.data.json_fields import read_object
from job.storage.atomic import remove_leftovers
from job.storage.store import ObjectInfo, ObjectMissing, ObjectStore

log = logging.getLogger("dcgan.checkpoint")

ROOT = "checkpoints/"
QUARANTINED, PINNED = "quarantined.json", "pinned.json"
_OBJECT = re.compile(rf"{ROOT}step-(\d{{9,12}})/([^/]+)", re.ASCII)
_MARK_BYTES = 4096
_PIECE_BYTES = 1 << 26

Persist = Callable[[Callable[[], object]], object]
CheckOwner = Callable[[], None]
Choose = Callable[[Manifest], Collection[str] | None]


class DamagedPart(StorageError):
    """A part of a committed checkpoint differs from its manifest."""


class Folder(NamedTuple):
    """One checkpoint in a listing: ``objects`` by their names in the folder."""

    step: int
    objects: dict[str, ObjectInfo]

    @property
    def is_committed(self) -> bool:
        """A manifest exists, readable or not."""
        return manifests.NAME in self.objects

    @property
    def is_quarantined(self) -> bool:
        return QUARANTINED in self.objects

    @property
    def is_pinned(self) -> bool:
        return PINNED in self.objects

    def damage(self, manifest: Manifest) -> str | None:
        """Return the damage that the listing alone shows; None if there is none."""
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
        """Return the URI of a checkpoint's folder, for ``dcgan-train generate``."""
        return f"{self._store.uri.rstrip('/')}/{folder_of(step).rstrip('/')}"

    def save(
        self,
        facts: Manifest,
        parts: Mapping[str, bytes],
        persist: Persist = lambda request: request(),
        check_owner: CheckOwner = lambda: None,
    ) -> Manifest:
        """Commit ``parts`` as the checkpoint of ``facts.step``; return the manifest as written.

        The ``parts`` of ``facts`` are ignored. ``persist`` makes each request and may retry it: all
        are idempotent. ``check_owner`` raises if another job has the run folder; it is called
        before each change, and again before a retry.
        """
        folder = facts.folder
        self._remove_leftovers(folder)

        def change(operation: Callable[..., object], *arguments: object) -> None:
            def checked() -> None:
                check_owner()
                operation(*arguments)

            persist(checked)

        # A step that is saved again is not committed until its new manifest is written.
        change(self._store.delete, folder + manifests.NAME)
        listed = []
        for name, data in parts.items():
            change(self._store.write, folder + name, data)
            listed.append(Part(name, len(data), hashlib.sha256(data).hexdigest()))
        committed = dataclasses.replace(facts, parts=tuple(listed))
        change(self._store.delete, folder + QUARANTINED)
        change(self._store.write, folder + manifests.NAME, committed.to_json())
        return committed

    def folders(self, step: int | None = None) -> list[Folder]:
        """Return the folders of all checkpoints, or of ``step``, newest first, committed or not."""
        found = (
            (match[1], match[2], entry)
            for entry in self._store.list(ROOT if step is None else folder_of(step))
            # A step has one folder: one with other leading zeros is not a checkpoint.
            if (match := _OBJECT.fullmatch(entry.key))
            and entry.key == folder_of(int(match[1])) + match[2]
        )
        folders = [
            Folder(int(digits), {name: entry for _, name, entry in entries})
            for digits, entries in groupby(found, key=lambda item: item[0])
        ]
        return sorted(folders, key=lambda folder: folder.step, reverse=True)

    def committed(self) -> list[Manifest]:
        """Return all manifests, newest first: one request each. ``readable`` is lazy."""
        return [manifest for _, manifest in self.readable()]

    def readable(self, step: int | None = None) -> Iterator[tuple[Folder, Manifest]]:
        """Yield folders with a good manifest, newest first, or only that of ``step``.

        Each manifest is read when it is its turn. A quarantined one is skipped, and, with a
        warning, an unreadable one.
        """
        for folder in self.folders(step):
            if not folder.is_committed or folder.is_quarantined:
                continue
            try:
                yield folder, self.manifest(folder.step)
            except ObjectMissing:
                continue  # deleted since it was listed
            except BadManifest as error:
                log.warning("checkpoint skipped: %s", error)

    def manifest(self, step: int) -> Manifest:
        """Return the manifest of ``step``, in one request.

        Raise ``BadManifest`` if it is not valid, ``ObjectMissing`` if it does not exist.
        """
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

        ``step`` restricts the search to that step. ``choose(manifest)`` names the parts to read
        (None: all); an exception in it ends the search. Raise ``StorageError`` if some are
        committed and none verifies: a fresh start would overwrite files that may be rescued.
        """
        number, damage = 0, ""
        for _, manifest in self.readable(step):
            number += 1
            try:
                return manifest, self.read(manifest, choose(manifest))
            except DamagedPart as error:
                log.warning("checkpoint skipped: %s", error)
                damage = str(error)
        if number:
            raise self.none_whole(number, damage)
        return None

    def read(self, manifest: Manifest, names: Collection[str] | None = None) -> dict[str, bytes]:
        """Return all parts, or those of ``names``, verified; ``DamagedPart`` names a bad one."""
        return {
            part.name: self._read_part(manifest, part)
            for part in manifest.parts
            if names is None or part.name in names
        }

    def damage(self, folder: Folder) -> str | None:
        """Read every byte of a committed checkpoint and return its damage; None if it is whole.

        Also None for a folder without a manifest.
        """
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
        """Return the error for a run folder in which no checkpoint can be used."""
        return StorageError(
            f"{self._store.uri}: {counted(number, 'checkpoint')}, none of them whole ({damage});"
            " expected at least one. Restore its files, or train into another run folder (uri)"
        )

    def quarantine(self, manifest: Manifest, reason: str) -> None:
        """Mark it as damaged, so that it is not used again. Its files stay."""
        self._mark(manifest.step, QUARANTINED, reason)
        log.warning("checkpoint quarantined: %s", reason)

    def release(self, step: int) -> None:
        """Remove the mark of ``quarantine``."""
        self._store.delete(folder_of(step) + QUARANTINED)

    def pin(self, step: int) -> None:
        """Exempt it from retention; ``StorageError`` if it is not committed."""
        if step not in (folder.step for folder in self.folders(step) if folder.is_committed):
            raise StorageError(
                f"{self._store.uri}: no committed checkpoint of step {step};"
                " expected one that `checkpoints list` shows"
            )
        self._mark(step, PINNED, "by hand")

    def unpin(self, step: int) -> None:
        """Return it to retention; ``StorageError`` if it is not pinned."""
        if step not in (folder.step for folder in self.folders(step) if folder.is_pinned):
            raise StorageError(
                f"{self._store.uri}: step {step} is not pinned;"
                " expected one that `checkpoints list` shows as pinned"
            )
        self._store.delete(folder_of(step) + PINNED)

    def why_quarantined(self, folder: Folder) -> str:
        """Return the reason stored with the mark of ``quarantine``."""
        mark = read_object(self._store, folder_of(folder.step) + QUARANTINED, _MARK_BYTES)
        reason = str(mark.get("reason", "no reason was written down"))
        return "".join(letter if letter.isprintable() else "?" for letter in reason)

    def delete(self, folder: Folder) -> None:
        """Delete it, manifest first: it is never committed and incomplete. Unknown files stay."""
        base = folder_of(folder.step)
        self._remove_leftovers(base)
        if folder.is_committed:
            self._store.delete(base + manifests.NAME)
        for name in folder.objects:
            if manifests.PART_NAME.fullmatch(name) or name in (QUARANTINED, PINNED):
                self._store.delete(base + name)

    def _remove_leftovers(self, folder: str) -> None:
        """Remove the temporary files of a killed process; an object store has none."""
        if path := self._store.local_path(folder + manifests.NAME):
            remove_leftovers(path.parent)

    def _mark(self, step: int, name: str, reason: str) -> None:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mark = {"since": since, "reason": reason[:1000]}
        self._store.write(folder_of(step) + name, json.dumps(mark, indent=2).encode())

    def _sha256_in_pieces(self, key: str, num_bytes: int) -> str:
        """Return the hash of an object of any size, in bounded memory."""
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
        """Raise ``DamagedPart`` if it differs from the manifest; the size is checked first."""
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
