"""The boto3 clients, shared by all threads and stores of a process, and the getters of streams.

Knows how to reach S3, not what is in it. The first call loads boto3, which finds the credentials.
"""

import os
import socket
import threading
from typing import Any

from job.config.storage import StorageSpec, check_endpoint
from job.storage.s3_get import Getter, remember_keys_of

# Larger files are uploaded in parts of this size, several at a time. S3 takes 5 MiB to 5 GiB.
PART_BYTES = 16 * 1024 * 1024

_clients: dict[tuple[StorageSpec, int], Any] = {}
_lock = threading.Lock()


def client_for(spec: StorageSpec) -> Any:
    """Return the S3 client for ``spec`` and the current ``AWS_*`` variables."""
    import boto3

    environment = hash(
        tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    )
    with _lock:
        if (spec, environment) not in _clients:
            _clients[spec, environment] = _new_client(boto3.session.Session(), spec)
        return _clients[spec, environment]


def forget_client(spec: StorageSpec) -> None:
    """Let the next ``client_for`` read the credentials again."""
    with _lock:
        for key in [key for key in _clients if key[0] == spec]:
            del _clients[key]


def new_getter(spec: StorageSpec, bucket: str) -> Getter:
    """Return a ``Getter`` with separate connections, for a caller that retries and verifies."""
    import boto3
    import botocore.session

    core = botocore.session.get_session()
    session = boto3.session.Session(botocore_session=core)
    client = _new_client(session, spec, once=True)
    return Getter(
        client,
        _new_http_session(client, core.get_config_variable("ca_bundle")),
        session.get_credentials(),
        bucket,
        spec.request_payer,
    )


def transfer_manager(client: Any, spec: StorageSpec, *, threshold_bytes: int = PART_BYTES) -> Any:
    """Return a context manager that uploads in parts, from ``threshold_bytes`` on.

    Unlike ``client.upload_file`` it raises the server's own error.
    """
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    config = TransferConfig(
        multipart_threshold=threshold_bytes,
        multipart_chunksize=PART_BYTES,
        max_concurrency=spec.max_connections,
        # The other one, if installed, ignores the client's endpoint options and retries.
        preferred_transfer_client="classic",
    )
    return create_transfer_manager(client, config)


def endpoint_of(spec: StorageSpec) -> str | None:
    """Return the custom endpoint, or None for Amazon's.

    Raise ``ConfigError`` if it is not a plain http(s) address or contains a password.
    """
    for name, url in (
        ("storage.endpoint_url", spec.endpoint_url),
        ("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL_S3")),
        ("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT_URL")),
    ):
        if not url:
            continue
        check_endpoint(name, url)
        return url
    return None


def _new_http_session(client: Any, ca_bundle: str | None) -> Any:
    """Return connections with the certificates, proxies and timeouts of ``client``."""
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies
    from urllib3.connection import HTTPConnection

    config = client.meta.config
    return URLLib3Session(
        verify=ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True,
        proxies=get_environ_proxies(client.meta.endpoint_url),
        timeout=(config.connect_timeout, config.read_timeout),
        max_pool_connections=config.max_pool_connections,
        socket_options=[
            *HTTPConnection.default_socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ],
    )


def _new_client(session: Any, spec: StorageSpec, *, once: bool = False) -> Any:
    from botocore.config import Config

    # "auto": boto3 puts the bucket in the path for a custom endpoint, in the host name on Amazon's.
    style = "auto" if spec.path_style is None else ("path" if spec.path_style else "virtual")
    config = Config(
        s3={"addressing_style": style},
        retries={
            "mode": "standard" if once else "adaptive",
            "total_max_attempts": 1 if once else spec.max_attempts,
        },
        connect_timeout=spec.connect_timeout_seconds,
        read_timeout=spec.read_timeout_seconds,
        max_pool_connections=spec.max_connections,
        tcp_keepalive=True,
        request_checksum_calculation=spec.checksums,
        response_checksum_validation="when_required" if once else spec.checksums,
        user_agent_extra="dcgan-train",
    )
    # boto3 reads only AWS_DEFAULT_REGION; Kubernetes' identity webhook sets AWS_REGION.
    region = spec.region or os.environ.get("AWS_REGION") or None
    client = session.client("s3", region_name=region, endpoint_url=spec.endpoint_url, config=config)
    demanded = spec.request_fields()

    def add_demanded(params: dict[str, Any], model: Any, **_: Any) -> None:
        """Add the fields that the operation takes, also to s3transfer's requests."""
        params |= {
            name: value for name, value in demanded.items() if name in model.input_shape.members
        }

    credentials = session.get_credentials()

    def remember_keys(**_: Any) -> None:
        """Mask the keys of each signature in logs; botocore renews those of roles then."""
        if credentials is not None:
            remember_keys_of(credentials.get_frozen_credentials())

    client.meta.events.register("before-parameter-build.s3", add_demanded)
    client.meta.events.register("before-sign.s3", remember_keys)
    return client


def _forget_clients() -> None:
    """Start empty in a forked child, which must not share sockets or a lock held by a thread."""
    global _clients, _lock
    _clients, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget_clients)
