"""Print the keys of a mounted Secret for boto3's `credential_process`.

credential_process = python credentials.py /etc/dcgan-train-keys

The folder has one file per key, so keys replaced in the Secret reach a run in progress.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

# boto3 asks again when less than 15 minutes are left: every minute.
EXPIRES_AFTER = timedelta(minutes=16)
NAMES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "SessionToken": "AWS_SESSION_TOKEN",
}


def main(folder: Path) -> None:
    found = {
        name: path.read_text().strip()
        for name, file in NAMES.items()
        if (path := folder / file).is_file()
    }
    expiration = datetime.now(UTC) + EXPIRES_AFTER
    json.dump({"Version": 1, **found, "Expiration": expiration.isoformat()}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
