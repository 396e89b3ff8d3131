package import Base
package import Catalog
package import Sandbox

/// A message to a worker whose event is still to be appended. `arn` is a buffer of the caller's, used up.
package func beginMessage(
    _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, arnPrefix: String,
    trace: UnsafeRawBufferPointer, clientContext: UnsafeRawBufferPointer, eventBytes: Int, scratch arn: ByteBuffer
) -> InvocationMessage {
    // The ARN in the form in which the function was asked for.
    arn.clear()
    arn.append(arnPrefix)
    arn.append(function.nameBytes)
    if let qualifier = resolution.qualifier {
        arn.append(UInt8(ascii: ":"))
        arn.append(qualifier)
    }
    var version = resolution.executedVersion
    return version.withUTF8 { version in
        InvocationMessage(
            id: id, version: UnsafeRawBufferPointer(version), functionARN: arn.bytes, traceID: trace,
            clientContext: clientContext, eventBytes: eventBytes)
    }
}
