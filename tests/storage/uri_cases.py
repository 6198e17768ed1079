"""URIs that are accepted, and the errors of the others; the chart must refuse the same ones."""

ACCESS_POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint"

# As given, and as the store then names itself.
ACCEPTED = {
    "/data/mnist": "file:///data/mnist",
    "file:///data/mnist/": "file:///data/mnist",
    "s3://bucket": "s3://bucket",
    "s3://bucket/": "s3://bucket",
    "s3://bucket/a/b/": "s3://bucket/a/b",
    "s3://bucket//a//": "s3://bucket/a",  # slashes around the prefix do not count
    "s3://bucket/a b/ü/100%/c=d/...": "s3://bucket/a b/ü/100%/c=d/...",
    "s3://bucket/.hidden/~a/a..b": "s3://bucket/.hidden/~a/a..b",
    # older buckets, and other servers', have capitals and underscores
    "s3://my.old_Bucket/a": "s3://my.old_Bucket/a",
    "s3://name-abcdefghij-s3alias/a": "s3://name-abcdefghij-s3alias/a",
    f"s3://{ACCESS_POINT}:name/a": f"s3://{ACCESS_POINT}:name/a",
}

# Those that name no store in a cluster, and a part of what the program says.
REFUSED = {
    "": "the URI of a store is empty",
    " ": "the URI of a store is empty",
    "file://data": "file://data: a file URI needs an absolute path",
    "file:/data": "file:/data: found no // after file:",
    "s3:/bucket/a": "s3:/bucket/a: found no // after s3:",
    "gs://bucket": "gs://bucket: unknown scheme gs://; expected s3://bucket/prefix",
    "S3://bucket": "S3://bucket: unknown scheme S3://",
    "s3://": "s3://: found no bucket; expected s3://bucket",
    "s3:///x": "s3:///x: found no bucket",
    "s3://b ucket/x": "'b ucket' is not a bucket's name",
    "s3://bucket:9000/x": "'bucket:9000' is not a bucket's name",
    "s3://bücket/x": "'bücket' is not a bucket's name",
    f"s3://{'b' * 256}/x": "is not a bucket's name",
    "s3://arn:aws:s3:::bucket/x": (
        "'arn:aws:s3:::bucket' is not a bucket's name; expected letters, digits, dots and hyphens;"
        " write an access point"
    ),
    f"s3://{ACCESS_POINT}/name/x": f"'{ACCESS_POINT}' is not a bucket's name",
    "s3://bucket--euw1-az1--x-s3/x": (
        "S3 Express directory buckets (names ending in --x-s3) are not supported"
    ),
    "s3://b/../x": "s3://b: the key '../x' is not a path inside the store",
    "s3://b/x/..": "s3://b: the key 'x/..' is not a path inside the store",
    "s3://b/./x": "s3://b: the key './x' is not a path inside the store",
    "s3://b/x//y": "s3://b: the key 'x//y' is not a path inside the store",
    "s3://b/.~x/y": "s3://b: the key '.~x/y' has a name that starts with '.~'",
}
