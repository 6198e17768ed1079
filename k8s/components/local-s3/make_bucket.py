"""Make a bucket in the store of AWS_ENDPOINT_URL once it answers, unless the bucket exists.

python make_bucket.py BUCKET
"""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import HTTPClientError

SECONDS = 120


def main() -> None:
    # Bucket names in the path: the server's host name has no subdomain for each bucket.
    client = boto3.client(
        "s3", region_name=os.environ["AWS_REGION"], config=Config(s3={"addressing_style": "path"})
    )
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            client.create_bucket(Bucket=sys.argv[1])
            return
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            return
        except HTTPClientError:  # the server is starting
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    main()
