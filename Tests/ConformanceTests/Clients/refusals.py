"""What the control plane refuses: names, fields, packages, sizes. Every refusal changes nothing."""

import io
import stat
import zipfile

from common import *

loose = client(validate=False)
HEAD = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
WIDE = HEAD + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
NARROW = HEAD + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
QUALIFIER = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"


def broken(value, field, constraint):
    return f"Value '{value}' at '{field}' failed to satisfy constraint: Member must {constraint}"


def validation(*violations):
    head = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
    return f"{head} detected: " + "; ".join(violations)


def exactly(call, code, message, **arguments):
    equal(refused(call, code, **arguments)["Error"]["Message"], message)


def new(name, **more):
    return {"FunctionName": name, "Role": ROLE, "Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": ECHO}} | more


def malformed_names():
    """Syntax is judged before existence, the qualifier before the name; all violations are told at once (recorded)."""
    pattern = "satisfy regular expression pattern: "
    malformed = [
        "*", "my-function!", "invalid-account:function:my-function", "arn:aws:lambda:invalid-region:000000000000:function:my-function",
        "arn:aws:ec2:us-east-1:000000000000:instance:i-1234567890abcdef0", ARN + "my-function:1:2", "function:my-function:$LATEST:extra",
        "arn:aws:lambda::000000000000:function:my-function", "arn:aws:lambda:us-east-1::function:my-function", ARN + "my-function:$LATES", "a b", "ä", "a:", ":a",
    ]
    for name in malformed:
        for call in (loose.get_function, loose.delete_function, loose.invoke, loose.get_function_configuration):
            exactly(call, "ValidationException", validation(broken(name, "functionName", pattern + WIDE)), FunctionName=name)
        exactly(loose.create_function, "ValidationException", validation(broken(name, "functionName", pattern + NARROW)), **new(name))
    too_long = "a" * 129
    far = "arn:aws:lambda:invalid-region:000000000000:function:my-function-" + "a" * 170
    for call in (loose.get_function, loose.delete_function, loose.invoke):
        exactly(call, "ValidationException", validation(broken("invalid!", "qualifier", pattern + QUALIFIER)), FunctionName="x", Qualifier="invalid!")
        exactly(call, "ValidationException",
                validation(broken(too_long, "qualifier", "have length less than or equal to 128"), broken(far, "functionName", pattern + WIDE)),
                FunctionName=far, Qualifier=too_long)
        exactly(call, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier.",
                FunctionName=ARN + "my-function:$LATEST", Qualifier="1")
        exactly(call, "ResourceNotFoundException", "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')",
                FunctionName=ARN.replace("us-east-1", "ap-southeast-1") + "x")
        equal(refused(call, "AccessDeniedException", status=403, FunctionName=ARN.replace("000000000000", "123456789012") + "x")["Error"].get("Message"), None)
    exactly(loose.create_function, "ValidationException",
            validation(broken(far, "functionName", "have length less than or equal to 140"), broken(far, "functionName", pattern + NARROW)), **new(far))
    exactly(loose.create_function, "InvalidParameterValueException", validation(broken("a" * 65, "functionName", "have length less than or equal to 64")), **new("a" * 65))
    exactly(loose.get_function, "ResourceNotFoundException", f"Function not found: {ARN}{'a' * 65}", FunctionName="a" * 65)
    exactly(loose.get_function, "ResourceNotFoundException", f"Function not found: {ARN}function", FunctionName=ARN[:-1])


def impossible_settings():
    exactly(loose.create_function, "ValidationException",
            validation(broken("r1", "role", r"satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")), **new("x", Role="r1"))
    exactly(loose.create_function, "ValidationException", validation(broken("[x86_64, arm64]", "architectures", "have length less than or equal to 1")),
            **new("x", Architectures=["x86_64", "arm64"]))
    exactly(loose.create_function, "ValidationException",
            validation(broken("[X86_64]", "architectures", "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]")),
            **new("x", Architectures=["X86_64"]))
    exactly(loose.create_function, "ValidationException",
            validation(broken("0", "timeout", "have value greater than or equal to 1"), broken("64", "memorySize", "have value greater than or equal to 128")),
            **new("x", Timeout=0, MemorySize=64))
    exactly(loose.create_function, "ValidationException", validation(broken("901", "timeout", "have value less than or equal to 900")), **new("x", Timeout=901))
    exactly(loose.create_function, "ValidationException",
            "2 validation errors detected: Value null at 'role' failed to satisfy constraint: Member must not be null; Value null at 'code' failed to satisfy constraint: Member must not be null",
            FunctionName="x", Runtime="python3.11", Handler="app.handler")
    for runtime in ["non-existent-runtime", "PYTHON3.9", "java21"]:
        refused(loose.create_function, "InvalidParameterValueException", f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [", 400,
                **new("x", Runtime=runtime))
    refused(loose.create_function, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters", 400,
            FunctionName="x", Role=ROLE, Code={"ZipFile": ECHO})
    for environment, message in [
        ({"AWS_REGION": "x"}, "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys"),
        ({"A": "x" * 5000}, "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {"),
    ]:
        refused(loose.create_function, "InvalidParameterValueException", message, 400, **new("x", Environment={"Variables": environment}))
    refused(loose.create_function, "InvalidParameterValueException", "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:1 does not exist.", 400, **new("x", Layers=["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]))
    refused(loose.create_function, "InvalidParameterValueException", None, 400, **new("x", Code={"ImageUri": "image"}, PackageType="Image"))
    create(loose, "settings", Timeout=7)
    refused(loose.update_function_configuration, "ValidationException", None, 400, FunctionName="settings", Timeout=8, MemorySize=1)
    refused(loose.update_function_configuration, "InvalidParameterValueException", None, 400, FunctionName="settings", Timeout=8, Runtime="cobol")
    equal(loose.get_function_configuration(FunctionName="settings")["Timeout"], 7, "what is refused changes nothing")
    loose.delete_function(FunctionName="settings")


def hostile_packages():
    create(loose, "zip")
    before = loose.get_function_configuration(FunctionName="zip")

    def made(fill):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            fill(archive)
        return data.getvalue()

    def link(path, target):
        def fill(archive):
            entry = zipfile.ZipInfo(path)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
        return made(fill)

    def device(archive):
        entry = zipfile.ZipInfo("device")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFCHR | 0o666) << 16
        archive.writestr(entry, "")

    def bomb(archive):
        with archive.open("zeros", "w", force_zip64=True) as file:
            for _ in range(251):
                file.write(bytes(1 << 20))

    unreadable = "Could not unzip uploaded file. Please check your file, then try to upload again."
    whole = made(lambda archive: archive.writestr("app.py", "x" * 5000))
    cases = [
        (b"not a zip", unreadable), (b"", None), (whole[:-30], unreadable), (whole[:40] + b"\xff" * 20 + whole[60:], None),
        (made(lambda archive: archive.writestr("../escape.py", "x")), "../escape.py, which leads out of the package"),
        (made(lambda archive: archive.writestr("a/../../escape.py", "x")), "a/../../escape.py, which leads out of the package"),
        (made(lambda archive: archive.writestr("/etc/escape", "x")), "/etc/escape, which has an absolute path"),
        (link("link", "/etc/passwd"), "link, which is a link out of the package"), (link("link", "../../etc"), "link, which is a link out of the package"),
        (link("a/b/link", "../../../x"), "a/b/link, which is a link out of the package"), (made(device), "device, which is neither"),
        (made(bomb), "Unzipped size must be smaller than 262144000 bytes"),
        (made(lambda archive: [archive.writestr(f"f{n}", "") for n in range(20_001)]), None),
    ]
    for data, message in cases:
        for call, arguments in [(loose.create_function, new("hostile", Code={"ZipFile": data})), (loose.update_function_code, {"FunctionName": "zip", "ZipFile": data})]:
            told = refused(call, "InvalidParameterValueException", status=400, **arguments)["Error"]["Message"]
            holds(message is None or message in told, f"{message}: {told}")
    refused(loose.get_function, "ResourceNotFoundException", FunctionName="hostile")
    equal(without_metadata(loose.get_function_configuration(FunctionName="zip")), without_metadata(before), "what is refused changes nothing")
    inside = link("a/link.py", "../app.py")
    loose.update_function_code(FunctionName="zip", ZipFile=inside)
    loose.delete_function(FunctionName="zip")


def too_large():
    refused(loose.create_function, "RequestEntityTooLargeException", "Zipped size must be smaller than 52428800 bytes", 413, **new("large", Code={"ZipFile": bytes(52428801)}))
    refused(loose.create_function, "RequestEntityTooLargeException", "Request must be smaller than 70167211 bytes for the CreateFunction operation", 413,
            **new("large", Code={"ZipFile": bytes(52625500)}))


main(malformed_names, impossible_settings, hostile_packages, too_large)
