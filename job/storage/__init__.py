"""Where bytes live: object stores on a folder or on S3, behind one protocol (``job.storage.store``)."""
