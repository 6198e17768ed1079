"""``croissant.json``: a data set described for other programs, in Croissant 1.1 with RAI fields.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, and the RAI vocabulary,
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html. Passes the reference
implementation, ``mlcroissant validate --jsonld croissant.json``, which also reads the images and
labels of tars and Parquet files. Raw shards have no reader in Croissant: their files are listed
with hashes.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "croissant.json"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
IMAGES = "images"  # the set of PNGs, or of rows


@dataclass(frozen=True)
class DataFile:
    """A file of the data set, beside ``croissant.json``."""

    name: str
    num_bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True)
class Description:
    """The data set for people; ``rai`` has fields of the RAI vocabulary by their names."""

    name: str
    text: str
    created: str  # YYYY-MM-DD
    rai: Mapping[str, str | Sequence[str]]
    license: str | None = None
    cite_as: str | None = None


def croissant(
    description: Description,
    files: Iterable[DataFile],
    image_sets: Sequence[Mapping[str, Any]] = (),
    record_sets: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Return the file's content; ``image_sets`` are ``FileSet`` objects of the distribution."""
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": description.name,
        "description": description.text,
        "version": "1.0.0",
        "datePublished": description.created,
        "license": description.license,
        "citeAs": description.cite_as,
        **{f"rai:{name}": value for name, value in description.rai.items()},
        "distribution": [*map(_file_object, files), *image_sets],
        "recordSet": list(record_sets),
    }
    kept = {name: value for name, value in document.items() if value not in (None, [])}
    return (json.dumps(kept, indent=2) + "\n").encode()


def set_name(uri: str) -> str:
    """Return a name for the data set at ``uri``: its last part, in letters that a name may have."""
    last = uri.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "images"


def file_set(
    pattern: str, media_type: str, tar_names: Sequence[str] = (), *, name: str = IMAGES
) -> dict[str, Any]:
    """Return the ``FileSet`` of all files of ``pattern`` in the tars, or beside this file."""
    found = {
        "@type": "cr:FileSet",
        "@id": name,
        "containedIn": [{"@id": tar} for tar in tar_names],
        "encodingFormat": media_type,
        "includes": pattern,
    }
    return {key: value for key, value in found.items() if value != []}


def record_set(name: str, fields: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a ``RecordSet``; ``records`` has one for each image."""
    return {"@type": "cr:RecordSet", "@id": name, "field": list(fields), **more}


def field(identity: str, data_type: str, source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the ``Field`` of an ``identity`` like ``records/image``."""
    return {
        "@type": "cr:Field",
        "@id": identity,
        "dataType": data_type,
        "source": dict(source),
        **more,
    }


def of_files(extract: Mapping[str, str], *, name: str = IMAGES, **transform: str) -> dict[str, Any]:
    """Return a field's source: what ``extract`` takes from a file set, then ``transform``."""
    source: dict[str, Any] = {"fileSet": {"@id": name}, "extract": dict(extract)}
    return source | ({"transform": transform} if transform else {})


def _file_object(file: DataFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "contentUrl": file.name,
        "contentSize": f"{file.num_bytes} B",
        "encodingFormat": file.media_type,
        "sha256": file.sha256,
    }
