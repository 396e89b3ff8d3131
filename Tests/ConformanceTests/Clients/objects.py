"""S3 as boto3 and s3transfer use it: objects, versions, uploads, addresses, forms, settings."""

import threading
import urllib.error
import urllib.request

from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED

from common import *

BIG = hashlib.shake_256(b"big").digest(24 * 1024 * 1024 + 7)


def s3(**more):
    return boto3.client("s3", config=Config(retries={"max_attempts": 0}, read_timeout=60, **more))


aws = s3()


def bucket(name, **more):
    aws.create_bucket(Bucket=name, **more)
    return name


def body(answer):
    return answer["Body"].read()


def fetch(url, data=None, method="GET", headers={}):
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def an_object_comes_back_as_it_went_in():
    name = bucket("round")
    for key in ("a", "a/b", "ä/ö ?&+%2F\n\x01<>\"'", "../../etc/passwd", "/", "x" * 1024):
        put = aws.put_object(Bucket=name, Key=key, Body=b"hello " + key.encode(), Metadata={"who": "Ada"}, CacheControl="max-age=7")
        got = aws.get_object(Bucket=name, Key=key, ChecksumMode="ENABLED")
        equal(body(got), b"hello " + key.encode())
        equal((got["Metadata"], got["CacheControl"], got["ETag"]), ({"who": "Ada"}, "max-age=7", put["ETag"]))
        equal(put["ETag"].strip('"'), hashlib.md5(b"hello " + key.encode()).hexdigest())
        equal(got["ChecksumCRC32"], put["ChecksumCRC32"])
    # boto3 expects 100 (Continue) even for an empty body, and takes the next answer for a broken one if it did not come.
    for text in (b"", b"more", b"", b"less"):
        aws.put_object(Bucket=name, Key="/", Body=text)
        equal(body(aws.get_object(Bucket=name, Key="/")), text)
    refused(aws.put_object, "KeyTooLongError", Bucket=name, Key="x" * 1025, Body=b"")
    refused(aws.put_object, "NoSuchBucket", Bucket="not-there", Key="x", Body=b"abc")
    refused(aws.get_object, "NoSuchKey", Bucket=name, Key="nothing", status=404)
    # Of this one no answer in XML can tell: expat knows no control characters.
    aws.delete_object(Bucket=name, Key="ä/ö ?&+%2F\n\x01<>\"'")
    keys = {entry["Key"] for page in aws.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": 2})
            for entry in page["Contents"]}
    equal(len(keys), 5)
    gone = aws.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
    equal(len(gone["Deleted"]), 5)
    aws.delete_bucket(Bucket=name)
    refused(aws.head_bucket, "404", Bucket=name)


def ranges_and_conditions_hold():
    name = bucket("ranges")
    etag = aws.put_object(Bucket=name, Key="k", Body=b"0123456789")["ETag"]
    for wanted, text in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=7-", b"789"), ("bytes=-99", b"0123456789")):
        got = aws.get_object(Bucket=name, Key="k", Range=wanted)
        equal((body(got), got["ResponseMetadata"]["HTTPStatusCode"]), (text, 206))
        holds("ChecksumCRC32" not in got or text == b"0123456789", "a range has no checksum of the whole")
    refused(aws.get_object, "InvalidRange", status=416, Bucket=name, Key="k", Range="bytes=10-")
    refused(aws.get_object, "304", Bucket=name, Key="k", IfNoneMatch=etag)
    refused(aws.get_object, "PreconditionFailed", Bucket=name, Key="k", IfMatch='"0123456789abcdef0123456789abcdef"')
    refused(aws.put_object, "PreconditionFailed", Bucket=name, Key="k", Body=b"x", IfNoneMatch="*")
    refused(aws.put_object, "NoSuchKey", Bucket=name, Key="new", Body=b"x", IfMatch=etag)
    equal(body(aws.get_object(Bucket=name, Key="k")), b"0123456789")
    wins = []

    def race(number):
        try:
            aws.put_object(Bucket=name, Key="once", Body=b"%d" % number, IfNoneMatch="*")
            wins.append(number)
        except ClientError:
            pass
    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(len(wins), 1, "exactly one conditional create succeeds")
    equal(body(aws.get_object(Bucket=name, Key="once")), b"%d" % wins[0])


def s3transfer_moves_big_files_in_parallel_parts():
    name = bucket("transfer")
    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20, max_concurrency=6)
    aws.upload_fileobj(io.BytesIO(BIG), name, "big", Config=parts)
    head = aws.head_object(Bucket=name, Key="big")
    equal(head["ContentLength"], len(BIG))
    chunks = [hashlib.md5(BIG[at:at + (5 << 20)]).digest() for at in range(0, len(BIG), 5 << 20)]
    equal(head["ETag"].strip('"'), f"{hashlib.md5(b''.join(chunks)).hexdigest()}-{len(chunks)}")
    out = io.BytesIO()
    aws.download_fileobj(name, "big", out, Config=parts)
    holds(out.getvalue() == BIG, "what came back is what went in")
    aws.copy({"Bucket": name, "Key": "big"}, name, "copy", Config=parts)
    holds(body(aws.get_object(Bucket=name, Key="copy")) == BIG, "the copy too")
    upload = aws.create_multipart_upload(Bucket=name, Key="broken")["UploadId"]
    one = aws.upload_part(Bucket=name, Key="broken", UploadId=upload, PartNumber=1, Body=b"small")
    two = aws.upload_part(Bucket=name, Key="broken", UploadId=upload, PartNumber=2, Body=b"last")
    listed = [{"PartNumber": 1, "ETag": one["ETag"]}, {"PartNumber": 2, "ETag": two["ETag"]}]
    complete = dict(Bucket=name, Key="broken", UploadId=upload)
    refused(aws.complete_multipart_upload, "EntityTooSmall", MultipartUpload={"Parts": listed}, **complete)
    refused(aws.complete_multipart_upload, "InvalidPartOrder", MultipartUpload={"Parts": listed[::-1]}, **complete)
    refused(aws.complete_multipart_upload, "InvalidPart", MultipartUpload={"Parts": [{"PartNumber": 3, "ETag": one["ETag"]}]}, **complete)
    equal([part["PartNumber"] for part in aws.list_parts(**complete)["Parts"]], [1, 2])
    refused(aws.get_object, "NoSuchKey", Bucket=name, Key="broken")
    aws.abort_multipart_upload(**complete)
    refused(aws.abort_multipart_upload, "NoSuchUpload", **complete)


def versions_are_kept_and_found():
    name = bucket("versions")
    aws.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    ids = [aws.put_object(Bucket=name, Key="k", Body=b"%d" % number)["VersionId"] for number in range(3)]
    marker = aws.delete_object(Bucket=name, Key="k")
    equal(marker["DeleteMarker"], True)
    refused(aws.get_object, "NoSuchKey", Bucket=name, Key="k")
    refused(aws.get_object, "MethodNotAllowed", Bucket=name, Key="k", VersionId=marker["VersionId"])
    equal([body(aws.get_object(Bucket=name, Key="k", VersionId=version)) for version in ids], [b"0", b"1", b"2"])
    listed = aws.list_object_versions(Bucket=name)
    equal([entry["VersionId"] for entry in listed["Versions"]], ids[::-1])
    aws.delete_object(Bucket=name, Key="k", VersionId=marker["VersionId"])
    equal(body(aws.get_object(Bucket=name, Key="k")), b"2")
    refused(aws.delete_bucket, "BucketNotEmpty", Bucket=name)


def addresses_and_forms_let_in_whom_they_name():
    name = bucket("presigned")
    signer = s3(signature_version="s3v4")
    url = signer.generate_presigned_url("put_object", Params={"Bucket": name, "Key": "p"}, ExpiresIn=60)
    equal(fetch(url, b"by address", "PUT")[0], 200)
    url = signer.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "p", "ResponseContentType": "text/x"}, ExpiresIn=60)
    status, text, headers = fetch(url)
    equal((status, text, headers["Content-Type"]), (200, b"by address", "text/x"))
    status, text, _ = fetch(url.replace("/p?", "/q?"))
    holds(status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in text, text)
    plain = url.split("?")[0]
    equal(fetch(plain)[0], 403)
    form = signer.generate_presigned_post(name, "form/${filename}", Conditions=[["content-length-range", 1, 20]])

    def post(content):
        edge = "xyz"
        lines = []
        for key, value in form["fields"].items():
            lines.append(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n')
        lines.append(f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\n{content}\r\n--{edge}--\r\n')
        return fetch(form["url"], "".join(lines).encode(), "POST", {"Content-Type": f"multipart/form-data; boundary={edge}"})
    equal(post("short enough")[0], 204)
    equal(body(aws.get_object(Bucket=name, Key="form/f.txt")), b"short enough")
    status, text, _ = post("far too long for this form")
    holds(status == 400 and b"EntityTooLarge" in text, text)
    aws.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}]}))
    equal(fetch(plain)[:2], (200, b"by address"))
    anonymous = s3(signature_version=UNSIGNED)
    refused(anonymous.list_objects_v2, "AccessDenied", Bucket=name)
    refused(anonymous.put_object, "AccessDenied", Bucket=name, Key="no", Body=b"no")


def settings_are_kept_and_bad_ones_refused():
    name = bucket("settings")
    refused(aws.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", Bucket=name)
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    aws.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    equal(aws.get_bucket_lifecycle_configuration(Bucket=name)["Rules"], [rule])
    holds("Expiration" in aws.put_object(Bucket=name, Key="logs/1", Body=b"x"), "x-amz-expiration is told")
    for bad in ({"Days": 0}, {"Date": "2015-01-01T01:00:00Z"}):
        refused(aws.put_bucket_lifecycle_configuration, "InvalidArgument", Bucket=name,
                LifecycleConfiguration={"Rules": [rule | {"Expiration": bad}]})
    equal(aws.get_bucket_lifecycle_configuration(Bucket=name)["Rules"], [rule])
    tags = [{"Key": "a", "Value": "b"}]
    aws.put_object_tagging(Bucket=name, Key="logs/1", Tagging={"TagSet": tags})
    equal(aws.get_object_tagging(Bucket=name, Key="logs/1")["TagSet"], tags)
    cors = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://*.example.com"], "MaxAgeSeconds": 9}]
    aws.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": cors})
    equal(aws.get_bucket_cors(Bucket=name)["CORSRules"], cors)
    endpoint = aws.meta.endpoint_url
    asked = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "GET"}
    equal(fetch(f"{endpoint}/{name}/x", method="OPTIONS", headers=asked)[2]["Access-Control-Allow-Origin"], "https://a.example.com")
    equal(fetch(f"{endpoint}/{name}/x", method="OPTIONS", headers=asked | {"Origin": "https://evil.org"})[0], 403)
    tiering = {"Id": "t", "Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]}
    aws.put_bucket_intelligent_tiering_configuration(Bucket=name, Id="t", IntelligentTieringConfiguration=tiering)
    equal(aws.get_bucket_intelligent_tiering_configuration(Bucket=name, Id="t")["IntelligentTieringConfiguration"], tiering)
    aws.put_bucket_accelerate_configuration(Bucket=name, AccelerateConfiguration={"Status": "Enabled"})
    equal(aws.get_bucket_accelerate_configuration(Bucket=name)["Status"], "Enabled")
    refused(aws.put_bucket_policy, "MalformedPolicy", Bucket=name, Policy="{}")


main(an_object_comes_back_as_it_went_in, ranges_and_conditions_hold, s3transfer_moves_big_files_in_parallel_parts,
     versions_are_kept_and_found, addresses_and_forms_let_in_whom_they_name, settings_are_kept_and_bad_ones_refused)
