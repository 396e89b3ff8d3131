internal import Base
internal import Catalog
internal import HTTP
internal import Invoker
internal import Net

/// Requests that a function URL turns away, in Lambda's words (recorded 2025-11-24).
enum URLRefusal {
    /// AWS_IAM, and no signature that holds.
    static func unsigned(_ request: HTTPRequest, _ invoker: Invoker, _ cors: [UInt8]?) { send(request, invoker, "Forbidden", cors) }

    /// Nothing permits it.
    static func forbidden(_ request: HTTPRequest, _ invoker: Invoker, _ cors: [UInt8]? = nil) {
        send(
            request, invoker,
            "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
            cors)
    }

    static func noURL(_ request: HTTPRequest, _ invoker: Invoker, _ function: FunctionEntry) {
        send(
            request, invoker,
            "Forbidden. Function '\(function.name)' has no URL here: make one with aws lambda create-function-url-config, or deploy it with hearth deploy.",
            nil)
    }

    private static func send(_ request: HTTPRequest, _ invoker: Invoker, _ message: String, _ cors: [UInt8]?) {
        let connection = request.connection
        connection.begin(403)
        let out = connection.output
        out.append("Content-Type: application/json\r\nx-amzn-ErrorType: AccessDeniedException\r\n")
        out.appendField("x-amzn-RequestId", invoker.makeRequestID())
        if let cors { out.append(cors) }
        let body = ByteBuffer()
        body.append("{\"Message\":")
        body.append(jsonString: message)
        body.append("}")
        connection.end(body.bytes)
    }
}
