"""What data is: schemas, digests, shards on disk, the verdict ledger, versions and their index."""
