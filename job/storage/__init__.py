"""Object stores on a local folder or on S3, behind one protocol (``job.storage.store``)."""
