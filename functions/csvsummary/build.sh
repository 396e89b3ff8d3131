#!/bin/sh
# Python as Lambda has it brings boto3. Where this machine's does not, it is packed with the function; and where the package index
# cannot be reached either, the function says so when it is called.
python3 -c 'import boto3' 2>/dev/null && exit 0
test -d vendor/boto3 && exit 0
python3 -m pip install --quiet --retries 1 --timeout 5 --target vendor boto3 && exit 0
rm -rf vendor
echo 'csvsummary is deployed without boto3: python3 -m pip install boto3, then deploy it again' >&2
