internal import Base
internal import HTTP
package import Objects

/// What a function is told of a change: S3's event message, version 2.1 (Amazon S3 User Guide, "Event message structure").
package enum S3Event {
    /// An event of one record.
    package static func json(_ event: ObjectEvent, region: String) -> [UInt8] {
        let out = ByteBuffer(capacity: 1024)
        func member(_ name: StaticString, _ text: String) {
            out.append(name)
            out.append(jsonString: text)
        }
        member(#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"#, region)
        member(#","eventTime":"#, Dates.iso(milliseconds: event.time))
        member(#","eventName":"#, event.kind.rawValue)
        member(#","userIdentity":{"principalId":"#, event.requester.account.isEmpty ? "Anonymous" : "AWS:\(event.requester.account)")
        member(#"},"requestParameters":{"sourceIPAddress":"#, event.requester.address)
        member(#"},"responseElements":{"x-amz-request-id":"#, event.requester.requestID)
        member(#","x-amz-id-2":"#, S3Request.hostID)
        member(#"},"s3":{"s3SchemaVersion":"1.0","configurationId":"#, event.rule)
        member(#","bucket":{"name":"#, event.bucket)
        member(#","ownerIdentity":{"principalId":"#, event.owner)
        member(#"},"arn":"#, "arn:aws:s3:::\(event.bucket)")
        member(#"},"object":{"key":"#, formEncode(event.key))
        switch event.kind {
        case .delete: break
        // A marker has the ETag of nothing.
        case .deleteMarker: member(#","eTag":"#, "d41d8cd98f00b204e9800998ecf8427e")
        default:
            out.append(#","size":\#(event.size)"#)
            member(#","eTag":"#, event.etag.description)
        }
        if let version = event.version { member(#","versionId":"#, version) }
        member(#","sequencer":"#, sequencer(event.sequencer))
        out.append("}}}]}" as StaticString)
        return Array(out.bytes)
    }

    /// As forms code it, but for slashes: clients undo it with `unquote_plus`.
    private static func formEncode(_ key: [UInt8]) -> String {
        S3Request.percentEncode(key).split(separator: "%20", omittingEmptySubsequences: false).joined(separator: "+")
    }

    /// Sixteen hexadecimal digits, so that texts compare as numbers do.
    private static func sequencer(_ number: Int64) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 16 - digits.count)) + digits
    }
}
