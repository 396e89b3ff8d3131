internal import Base

/// The condition keys that every request has, in lower case (AWS global condition context keys).
///
/// - Parameter peer: numeric address of the other side.
package func requestContext(peer: String, userAgent: String?, epochSeconds: UInt64) -> [String: String] {
    let time = UTCTime(epochSeconds: epochSeconds)
    var context = [
        "aws:securetransport": "false", "aws:sourceip": peer, "aws:epochtime": String(epochSeconds),
        "aws:currenttime": "\(time.date)T\(time.time)Z",
    ]
    context["aws:useragent"] = userAgent
    return context
}
