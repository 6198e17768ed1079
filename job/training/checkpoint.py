"""The checkpoint protocol on an object store: parts first, manifest last; restore verifies every part and falls back.

Knows bytes and names, no tensor. A folder without a manifest is a save that was cut short: it is never read, and the next save of that step
replaces it.

    checkpoints = Checkpoints(open_store("file:///runs/one"))
    manifest = checkpoints.save(facts, {"generator.npz": data})
    manifest, parts = checkpoints.restore()
"""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping

from job.config.errors import StorageError
from job.storage.store import ObjectMissing, ObjectStore
from job.training import manifest as manifests
from job.training.manifest import BadManifest, Manifest, Part

log = logging.getLogger("dcgan.checkpoint")


class Checkpoints:
    """The committed checkpoints below a run folder."""

    def __init__(self, store: ObjectStore):
        self._store = store

    def uri(self, manifest: Manifest) -> str:
        """The checkpoint's folder as a URI, ready for ``dcgan-train generate``."""
        return f"{self._store.uri.rstrip('/')}/{manifest.folder.rstrip('/')}"

    def save(self, facts: Manifest, parts: Mapping[str, bytes]) -> Manifest:
        """Commit ``parts`` as the checkpoint of ``facts.step`` (whose own ``parts`` are not looked at); gives the manifest as written."""
        folder = facts.folder
        self._store.delete(folder + manifests.NAME)  # a re-made step is uncommitted until its new manifest stands
        listed = []
        for name, data in parts.items():
            self._store.write(folder + name, data)
            listed.append(Part(name, len(data), hashlib.sha256(data).hexdigest()))
        committed = dataclasses.replace(facts, parts=tuple(listed))
        self._store.write(folder + manifests.NAME, committed.to_json())
        return committed

    def committed(self) -> list[Manifest]:
        """Manifests, newest first; one that cannot be read is passed over with a warning."""
        found = []
        for entry in self._store.list("checkpoints/"):
            if not entry.key.endswith("/" + manifests.NAME):
                continue
            try:
                found.append(self._read_manifest(entry.key))
            except ObjectMissing:
                continue  # deleted since it was listed
            except BadManifest as error:
                log.warning("checkpoint passed over: %s", error)
        return sorted(found, key=lambda manifest: manifest.step, reverse=True)

    def restore(self, step: int | None = None, only: str | None = None) -> tuple[Manifest, dict[str, bytes]] | None:
        """The newest checkpoint whose every part verifies, with its parts; None where none is committed.

        ``step`` looks at that step alone, ``only`` reads and verifies that part alone.

        ``StorageError`` where some are committed and none verifies: to begin anew there would bury what can perhaps be saved.
        """
        candidates = [manifest for manifest in self.committed() if step is None or manifest.step == step]
        for manifest in candidates:
            try:
                return manifest, {part.name: self._read_part(manifest, part) for part in manifest.parts if only in (None, part.name)}
            except DamagedPart as error:
                log.warning("checkpoint passed over: %s", error)
                damage = str(error)
        if candidates:
            raise StorageError(
                f"{self._store.uri}: {len(candidates)} checkpoints, none of them whole ({damage}); expected at least one."
                " Restore its files, or train into another run folder (uri)"
            )
        return None

    def prune(self, keep: int) -> None:
        """Delete all but the newest ``keep`` checkpoints, each one's manifest first, so that none is ever committed and incomplete."""
        for manifest in self.committed()[keep:]:
            self._store.delete(manifest.folder + manifests.NAME)
            for part in manifest.parts:
                self._store.delete(manifest.folder + part.name)

    def _read_manifest(self, key: str) -> Manifest:
        uri = f"{self._store.uri.rstrip('/')}/{key}"
        manifest = manifests.parse_manifest(self._store.read(key), uri)
        if manifest.folder + manifests.NAME != key:
            raise BadManifest(f"{uri}: says it is step {manifest.step}; expected the step of its folder")
        return manifest

    def _read_part(self, manifest: Manifest, part: Part) -> bytes:
        uri = f"{self.uri(manifest)}/{part.name}"
        found = self._store.stat(manifest.folder + part.name)
        if found is None:
            raise DamagedPart(f"{uri}: missing; expected {part.num_bytes} bytes")
        if found.num_bytes != part.num_bytes:
            raise DamagedPart(f"{uri}: {found.num_bytes} bytes; expected {part.num_bytes}")
        data = self._store.read(manifest.folder + part.name)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != part.sha256:
            raise DamagedPart(f"{uri}: SHA-256 {sha256}; expected {part.sha256}")
        return data


class DamagedPart(StorageError):
    """A part of a committed checkpoint that is not what its manifest says."""
