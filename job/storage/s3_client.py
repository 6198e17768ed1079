"""The boto3 client: one per process and configuration, shared by all threads and stores; and getters, one for each store that streams.

Knows how to reach S3, never what is in it. boto3 is loaded by the first call. Credentials come from where boto3 always looks for them.
"""

import os
import socket
import threading
from typing import Any

from job.config.storage import StorageSpec, check_endpoint
from job.storage.s3_get import Getter, remember_keys_of

# From this size on a file goes in parts, several at a time; also the size of a part. S3 takes parts of 5 MiB to 5 GiB.
PART_BYTES = 16 * 1024 * 1024

_clients: dict[tuple[StorageSpec, int], Any] = {}
_lock = threading.Lock()


def client_for(spec: StorageSpec) -> Any:
    """The S3 client for ``spec`` and the ``AWS_*`` variables as they are now. Contacts only what hands out credentials."""
    environment = hash(
        tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    )
    with _lock:
        if (spec, environment) not in _clients:
            _clients[spec, environment] = _new_client(_new_session(), spec)
        return _clients[spec, environment]


def forget_client(spec: StorageSpec) -> None:
    """Let the next ``client_for`` look for credentials anew."""
    with _lock:
        for key in [key for key in _clients if key[0] == spec]:
            del _clients[key]


def new_getter(spec: StorageSpec, bucket: str) -> Getter:
    """A ``Getter`` with connections and credentials of its own, for a caller that repeats requests and verifies bytes itself."""
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


def transfer_manager(client: Any, spec: StorageSpec) -> Any:
    """Uploads files in parts; a context manager. Unlike ``client.upload_file`` it raises the server's own error."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    config = TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=spec.max_connections,
        preferred_transfer_client="classic",  # the other one, where installed, ignores our client's endpoint options and retries
    )
    return create_transfer_manager(client, config)


def endpoint_of(spec: StorageSpec) -> str | None:
    """The custom endpoint, or None for Amazon's own. ``ConfigError`` where it is not a plain http(s) address or carries a password."""
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
    """Return connections with the certificates, proxies and timeouts that ``client`` uses for its own."""
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


def _new_session() -> Any:
    import boto3

    return boto3.session.Session()


def _new_client(session: Any, spec: StorageSpec, *, once: bool = False) -> Any:
    from botocore.config import Config

    # With "auto" boto3 puts the bucket in the path for a custom endpoint, wherever that is configured, and in the host name on Amazon's own.
    style = "auto" if spec.path_style is None else ("path" if spec.path_style else "virtual")
    config = Config(
        s3={"addressing_style": style},
        retries={"mode": "standard", "total_max_attempts": 1}
        if once
        else {"mode": "adaptive", "total_max_attempts": spec.max_attempts},
        connect_timeout=spec.connect_timeout_seconds,
        read_timeout=spec.read_timeout_seconds,
        max_pool_connections=spec.max_connections,
        tcp_keepalive=True,
        request_checksum_calculation=spec.checksums,
        response_checksum_validation="when_required" if once else spec.checksums,
        user_agent_extra="dcgan-train",
    )
    # boto3 alone reads only AWS_DEFAULT_REGION; Kubernetes' identity webhook and the other SDKs set AWS_REGION.
    region = spec.region or os.environ.get("AWS_REGION") or None
    client = session.client("s3", region_name=region, endpoint_url=spec.endpoint_url, config=config)
    demanded = spec.request_fields()

    def add_demanded(params: dict[str, Any], model: Any, **_: Any) -> None:
        """Botocore's model of an operation knows which fields it takes, so none is forgotten, also of those that s3transfer sends."""
        params |= {
            name: value for name, value in demanded.items() if name in model.input_shape.members
        }

    credentials = session.get_credentials()

    def remember_keys(**_: Any) -> None:
        """Botocore freezes them for each signature in the same way, and renews those of roles then."""
        if credentials is not None:
            remember_keys_of(credentials.get_frozen_credentials())

    client.meta.events.register("before-parameter-build.s3", add_demanded)
    client.meta.events.register("before-sign.s3", remember_keys)
    return client


def _forget_clients() -> None:
    """A forked child must not share sockets, nor a lock that another thread of the parent held."""
    global _clients, _lock
    _clients, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget_clients)
