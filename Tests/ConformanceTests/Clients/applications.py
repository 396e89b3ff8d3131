"""Web applications and Powertools as people deploy them: packages in a layer, and a function URL before Flask and FastAPI.

The one thing that the applications must know is what they must know behind any proxy with a path: X-Forwarded-Prefix.
The first argument is the directory in which pip has put the packages."""

import base64
import json
import os
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

sys.path.append(sys.argv[1])
import redis

from common import *

aws = client()
PACKAGES = sys.argv[1]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def the_packages_become_a_layer():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for directory, _, names in os.walk(PACKAGES):
            inside = os.path.relpath(directory, PACKAGES)
            # (boto3 is there to be imported: of the models of AWS's services none is used.)
            if not inside.startswith(("bin", "botocore/data", "boto3/data")):
                for name in names:
                    archive.write(f"{directory}/{name}", f"python/{inside}/{name}")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="layers")
    s3.put_object(Bucket="layers", Key="packages.zip", Body=data.getvalue())
    made = aws.publish_layer_version(LayerName="packages", Content={"S3Bucket": "layers", "S3Key": "packages.zip"}, CompatibleRuntimes=[PYTHON])
    equal(made["Content"]["CodeSize"], len(data.getvalue()))


def deploy(name, text, **more):
    create(aws, name, package(app_py=text), Runtime=PYTHON, Layers=[ARN.replace("function:", "layer:packages:1")], Timeout=30, MemorySize=512, **more)
    aws.get_waiter("function_active_v2").wait(FunctionName=name)


def url(name, text):
    """Deploys it with a function URL that is open to all."""
    deploy(name, text)
    made = aws.create_function_url_config(FunctionName=name, AuthType="NONE")
    aws.add_permission(FunctionName=name, StatementId="public", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    # On a busy machine the first import may take longer than a request waits for a worker.
    eventually(f"{name} to answer", lambda: fetch(made["FunctionUrl"])[0] != 429)
    return made["FunctionUrl"]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def fetch(url, data=None, headers={}, method=None):
    """Status, headers and bytes."""
    try:
        with urllib.request.build_opener(NoRedirect).open(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


FLASK = """
from a2wsgi import WSGIMiddleware
from flask import Flask, Response, jsonify, redirect, request, url_for
from mangum import Mangum
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.secret_key = "not a secret"
app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)

@app.get("/hello/<name>")
def hello(name):
    answer = jsonify(hello=name, times=request.args.getlist("times"), agent=request.headers["User-Agent"], cookie=request.cookies.get("who"))
    answer.set_cookie("a", "1", httponly=True)
    answer.set_cookie("b", "2")
    return answer

@app.post("/form")
def form():
    return f"{request.form['name']}: {len(request.files['file'].read())} bytes" if request.files else request.form["name"]

@app.put("/reverse")
def reverse():
    return Response(request.get_data()[::-1], mimetype="application/octet-stream")

@app.get("/old")
def old():
    return redirect(url_for("hello", name="moved"))

@app.get("/breaks")
def breaks():
    raise ValueError("on purpose")

handler = Mangum(WSGIMiddleware(app), lifespan="off")
"""


def a_flask_application_answers_at_its_function_url():
    base = url("flask-app", FLASK)
    status, headers, body = fetch(base + "hello/J%C3%BCrgen%20M?times=1&times=%26", headers={"User-Agent": "test/1", "Cookie": "who=me; other=x"})
    equal((status, json.loads(body)), (200, {"hello": "Jürgen M", "times": ["1", "&"], "agent": "test/1", "cookie": "me"}))
    equal((headers["Content-Type"], headers.get_all("Set-Cookie")), ("application/json", ["a=1; HttpOnly; Path=/", "b=2; Path=/"]))
    status, _, body = fetch(base + "form", urllib.parse.urlencode({"name": "Zoë & Co"}).encode())
    equal((status, body.decode()), (200, "Zoë & Co"))
    parts = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nphoto\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n' + bytes(range(256)) * 40 + b"\r\n--x--\r\n"
    equal(fetch(base + "form", parts, {"Content-Type": "multipart/form-data; boundary=x"})[2], b"photo: 10240 bytes")
    binary = bytes(range(256)) * 1000
    status, headers, body = fetch(base + "reverse", binary, {"Content-Type": "application/octet-stream"}, "PUT")
    equal((status, headers["Content-Type"], body == binary[::-1]), (200, "application/octet-stream", True), "binary bodies both ways")
    status, headers, _ = fetch(base + "old")
    equal((status, urllib.parse.urljoin(base + "old", headers["Location"])), (302, base + "hello/moved"), "the application knows its prefix")
    equal(fetch(base + "old", method="HEAD")[::2], (302, b""))
    equal([fetch(base + path, method=method)[0] for path, method in [("none", "GET"), ("old", "DELETE"), ("breaks", "GET"), ("hello/again", "GET")]], [404, 405, 500, 200])


FASTAPI = """
from contextlib import asynccontextmanager
import asyncio
from fastapi import FastAPI, Request, Response
from mangum import Mangum
from pydantic import BaseModel

class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []

@asynccontextmanager
async def lifespan(app):
    app.state.started = True
    yield

app = FastAPI(title="Items", lifespan=lifespan)

@app.get("/items/{number}")
async def read(number: int, request: Request, q: str | None = None):
    await asyncio.sleep(0.001)
    return {"number": number, "q": q, "started": request.app.state.started, "function": request.scope["aws.context"].function_name,
            "source": request.scope["aws.event"]["requestContext"]["http"]["sourceIp"]}

@app.post("/items", status_code=201)
def write(item: Item, response: Response):
    # No coroutine: FastAPI runs it in a thread.
    response.set_cookie("last", item.name)
    return item

@app.get("/picture")
def picture():
    return Response(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(range(256)), media_type="image/png")

handler = Mangum(app)
"""


def a_fastapi_application_answers_at_its_function_url():
    base = url("fastapi-app", FASTAPI)
    for number in range(3):
        status, headers, body = fetch(base + f"items/{number}?q=a%20b")
        equal((status, headers["Content-Type"], json.loads(body)),
              (200, "application/json", {"number": number, "q": "a b", "started": True, "function": "fastapi-app", "source": "127.0.0.1"}))
    status, headers, body = fetch(base + "items", b'{"name": "tea", "price": 2.5}', {"Content-Type": "application/json"})
    equal((status, json.loads(body), headers["Set-Cookie"]), (201, {"name": "tea", "price": 2.5, "tags": []}, "last=tea; Path=/; SameSite=lax"))
    status, _, body = fetch(base + "items", b'{"name": "tea", "price": "dear"}', {"Content-Type": "application/json"})
    equal((status, json.loads(body)["detail"][0]["loc"]), (422, ["body", "price"]), "what is wrong is told in FastAPI's words")
    status, headers, body = fetch(base + "picture")
    equal((status, headers["Content-Type"], body), (200, "image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))))
    equal(json.loads(fetch(base + "openapi.json")[2])["info"]["title"], "Items")
    equal([fetch(base + path, method=method)[0] for path, method in [("items/x", "GET"), ("none", "GET"), ("items/1", "PUT")]], [422, 404, 405])


POWERTOOLS = """
import os, redis, time, uuid
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer

logger = Logger()
metrics = Metrics()
store = CachePersistenceLayer(url=os.environ["HEARTH_CACHE_URL"])
cache = redis.Redis.from_url(os.environ["HEARTH_CACHE_URL"])

@logger.inject_lambda_context(log_event=True)
@metrics.log_metrics(capture_cold_start_metric=True)
@idempotent(config=IdempotencyConfig(event_key_jmespath="order", expires_after_seconds=600), persistence_store=store)
def handler(event, context):
    logger.append_keys(order=event["order"])
    logger.info("paying", extra={"amount": 12.5})
    metrics.add_metric(name="Payments", unit=MetricUnit.Count, value=1)
    metrics.add_dimension(name="Kind", value="card")
    if event.get("wait"):
        cache.set("begun", 1)
        while not cache.get("go"): time.sleep(0.02)
    if event.get("fail"): raise ValueError("no money")
    return {"payment": str(uuid.uuid4())}
"""


def powertools_logs_measures_and_keeps_idempotent():
    deploy("payments", POWERTOOLS, Environment={"Variables": {"POWERTOOLS_SERVICE_NAME": "payment", "POWERTOOLS_METRICS_NAMESPACE": "Shop", "POWERTOOLS_LOG_LEVEL": "INFO"}})

    # Clients that are traced send the id of their trace, and Powertools logs it.
    trace = {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}
    traced = boto3.client("lambda")
    traced.meta.events.register("before-call.lambda.Invoke", lambda params, **_: params["headers"].update(trace))

    # As it is configured by itself, boto3 comes again after a 429.
    stock = boto3.client("lambda")

    def pay(caller=stock, **event):
        answer = caller.invoke(FunctionName="payments", Payload=json.dumps(event).encode(), LogType="Tail")
        lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
        return answer, json.load(answer["Payload"]), [json.loads(line) for line in lines if line.startswith("{")]

    answer, first, lines = pay(order="A-1")
    request = answer["ResponseMetadata"]["RequestId"]
    logged = next(line for line in lines if line.get("message") == "paying")
    want = {"level": "INFO", "service": "payment", "order": "A-1", "amount": 12.5, "cold_start": True, "function_name": "payments", "function_memory_size": "512",
            "function_arn": ARN + "payments", "function_request_id": request}
    equal({key: str(logged[key]) for key in want}, {key: str(value) for key, value in want.items()})
    holds("xray_trace_id" not in logged, "nobody has given the call a trace id")
    holds(any(line.get("message") == {"order": "A-1"} for line in lines), "log_event tells the event")
    emf = {name["Name"]: line for line in lines if "_aws" in line for name in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    equal(set(emf), {"Payments", "ColdStart"})
    directive = emf["Payments"]["_aws"]["CloudWatchMetrics"][0]
    equal((directive["Namespace"], sorted(directive["Dimensions"][0]), directive["Metrics"][0]["Unit"]), ("Shop", ["Kind", "service"], "Count"))
    equal((emf["Payments"]["Payments"], emf["Payments"]["Kind"], emf["Payments"]["service"]), ([1.0], "card", "payment"))

    _, again, lines = pay(order="A-1", note="the same order")
    equal(again, first, "an order is paid once")
    holds(not any(line.get("message") == "paying" for line in lines), "the handler did not run again")
    _, other, lines = pay(traced, order="A-2")
    holds(other != first, "another order is another payment")
    equal({line["xray_trace_id"] for line in lines if "message" in line}, {"1-5759e988-bd862e3fe1be46a994272793"})

    # A failure keeps nothing: it may be tried again.
    answer, failed, _ = pay(order="A-3", fail=True)
    equal((answer["FunctionError"], failed["errorType"], failed["errorMessage"]), ("Unhandled", "ValueError", "no money"))
    holds("payment" in pay(order="A-3")[1], "after a failure it is paid")

    # Two at once, in two workers: one pays, and the other is told so. (Tests and functions see one cache.)
    paid = []
    thread = threading.Thread(target=lambda: paid.append(pay(client(), order="A-4", wait=True)[1]))
    with redis.Redis.from_url(os.environ["HEARTH_CACHE_URL"]) as cache:
        thread.start()
        eventually("the first to begin", lambda: cache.get("begun"))
        equal(pay(order="A-4", wait=True)[1]["errorType"], "IdempotencyAlreadyInProgressError")
        cache.set("go", 1)
        thread.join()
        equal(pay(order="A-4")[1], paid[0])

        # The records are the node's: a worker of a new version finds them, and any client can see them.
        aws.update_function_configuration(FunctionName="payments", Description="two")
        aws.get_waiter("function_updated_v2").wait(FunctionName="payments")
        equal(pay(order="A-1")[1], first, "an update forgets no payment")
        records = [json.loads(cache.get(key)) for key in cache.scan_iter("*handler#*") if not key.endswith(b":lock")]
        equal([record["status"] for record in records], ["COMPLETED"] * 4, records)


main(the_packages_become_a_layer, a_flask_application_answers_at_its_function_url, a_fastapi_application_answers_at_its_function_url,
     powertools_logs_measures_and_keeps_idempotent)
