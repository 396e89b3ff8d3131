internal import Base
internal import HTTP
package import EventQueue

/// What a destination is told of an event's end: version 1.0 of Lambda's invocation record (recorded 2025-11-25).
package struct InvocationRecord {
    package let event: QueuedEvent
    /// JSON, as it was accepted.
    package let payload: [UInt8]
    package let functionARN: String
    /// `Success`, or why it was given up.
    package let condition: String
    package let attempts: Int
    /// What the last attempt answered; nil: none ran.
    package var response: (executedVersion: String, isError: Bool, payload: [UInt8])?

    package init(event: QueuedEvent, payload: [UInt8], functionARN: String, condition: String, attempts: Int) {
        self.event = event
        self.payload = payload
        self.functionARN = functionARN
        self.condition = condition
        self.attempts = attempts
    }

    /// - Parameter now: milliseconds since 1970.
    package func json(at now: Int64) -> [UInt8] {
        let out = ByteBuffer(capacity: payload.count + (response?.payload.count ?? 0) + 512)
        let time = UTCTime(epochSeconds: UInt64(now / 1000))
        out.append(#"{"version":"1.0","timestamp":"\#(time.date)T\#(time.time).\#(UTCTime.pad(Int(now % 1000), 3))Z","#)
        out.append(#""requestContext":{"requestId":"\#(event.id)","functionArn":"#)
        out.append(jsonString: functionARN)
        out.append(#","condition":"\#(condition)","approximateInvokeCount":\#(attempts)},"requestPayload":"#)
        out.append(payload)
        if let response {
            out.append(#","responseContext":{"statusCode":200,"executedVersion":"#)
            out.append(jsonString: response.executedVersion)
            if response.isError { out.append(#","functionError":"Unhandled""#) }
            out.append(#"},"responsePayload":"#)
            // A runtime may answer with what is no JSON.
            let isJSON = response.payload.withUnsafeBytes { JSONCheck.validate($0) } == nil
            if isJSON { out.append(response.payload) } else { response.payload.withUnsafeBytes { out.append(jsonString: $0) } }
        }
        out.append("}")
        return Array(out.bytes)
    }
}
