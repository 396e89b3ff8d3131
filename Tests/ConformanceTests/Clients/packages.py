"""Installs the clients and the frameworks from the package index, once for each list of them: prints their two directories.

They stay in the temporary directory, named by a digest of what they are, and serve the next run as well."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

CLIENTS = ["boto3==1.43.11", "awscli==1.45.11"]
APPLICATIONS = ["flask==3.1.3", "fastapi==0.165.0", "mangum==0.22.0", "a2wsgi==1.10.10", "aws-lambda-powertools[redis]==3.37.0", "boto3==1.43.11"]


def installed(packages):
    digest = hashlib.sha256(repr((packages, sys.version_info[:2], os.uname().machine)).encode()).hexdigest()[:16]
    place = f"{tempfile.gettempdir()}/hearth-packages-{os.getuid()}-{digest}"
    if os.path.isdir(place):
        # The directory is everybody's; what another user has put there is not run.
        return place if os.stat(place).st_uid == os.getuid() else sys.exit(f"{place} belongs to somebody else")
    partial = tempfile.mkdtemp(prefix="hearth-packages-")
    try:
        # (With this variable the compiled modules name their source by its digest: they hold wherever they are unpacked.)
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "2", "--disable-pip-version-check", "--only-binary", ":all:",
             "--target", partial] + packages, check=True, stdin=subprocess.DEVNULL, env=os.environ | {"SOURCE_DATE_EPOCH": "1767225600"})
        try:
            os.rename(partial, place)
        except OSError:
            # Another run was quicker.
            if not os.path.isdir(place):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


print(sys.executable, installed(CLIENTS), installed(APPLICATIONS), sep="\n")
