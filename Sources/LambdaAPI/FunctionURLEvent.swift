internal import Base
internal import HTTP
internal import IAM
internal import Net
internal import SigV4
internal import UV

/// Writes an HTTP request as Lambda's function-URL event, payload format 2.0, straight into the message to the worker.
///
/// (Lambda developer guide, "Request and response payloads"; headers in lower case, repeated ones joined with a comma,
/// cookies apart, absent what is empty.)
struct FunctionURLEvent {
    let request: HTTPRequest
    let function: String
    /// The path behind the function's name; begins with a slash.
    let rawPath: UnsafeRawBufferPointer
    let requestID: RequestID
    let traceID: UnsafeRawBufferPointer
    let epochMilliseconds: UInt64
    let port: Int
    /// Who has signed it, where that is asked for.
    let caller: Identity?

    /// An upper bound of what `write` adds, bodies in base64 included.
    var bytesExpected: Int { 1024 + request.bytes.count * 2 + request.body.count * 2 }

    func write(to out: ByteBuffer) {
        let head = request.head
        out.append(#"{"version":"2.0","routeKey":"$default","rawPath":"#)
        out.append(jsonString: rawPath)
        out.append(#","rawQueryString":"#)
        out.append(jsonString: request.query)
        writeCookies(to: out)
        writeHeaders(to: out)
        writeQuery(to: out)
        out.append(#","requestContext":{"accountId":""#)
        out.append(caller?.caller.account ?? "anonymous")
        out.append(#"","apiId":""#)
        out.append(function)
        out.append("\"")
        if let caller { writeAuthorizer(caller, to: out) }
        out.append(#","domainName":"#)
        out.append(jsonString: request.header(.host) ?? UnsafeRawBufferPointer(start: nil, count: 0))
        out.append(#","domainPrefix":""#)
        out.append(function)
        out.append(#"","http":{"method":"#)
        out.append(jsonString: request.slice(head.methodRange))
        out.append(#","path":"#)
        out.append(jsonString: rawPath)
        out.append(head.minorVersion == 0 ? #","protocol":"HTTP/1.0","sourceIp":""# : #","protocol":"HTTP/1.1","sourceIp":""#)
        out.append(request.connection.peerHost)
        out.append(#"","userAgent":"#)
        out.append(jsonString: request.header(.userAgent) ?? UnsafeRawBufferPointer(start: nil, count: 0))
        out.append(#"},"requestId":""#)
        out.append(requestID)
        out.append(#"","routeKey":"$default","stage":"$default","time":""#)
        writeTime(to: out)
        out.append(#"","timeEpoch":"#)
        out.append(decimal: epochMilliseconds)
        out.append("}")
        writeBody(to: out)
        out.append("}")
    }

    /// (Lambda developer guide, "Request payload format".)
    private func writeAuthorizer(_ identity: Identity, to out: ByteBuffer) {
        let caller = identity.caller
        let members = [
            ("accessKey", identity.accessKeyID), ("accountId", caller.account), ("callerId", caller.name), ("userArn", caller.arn),
            ("userId", caller.name),
        ]
        out.append(#","authorizer":{"iam":{"cognitoIdentity":null,"principalOrgId":null"#)
        for (name, value) in members {
            out.append(",")
            out.append(jsonString: name)
            out.append(":")
            out.append(jsonString: value)
        }
        out.append("}}")
    }

    /// `12/Mar/2020:19:03:58 +0000`
    private func writeTime(to out: ByteBuffer) {
        let time = UTCTime(epochSeconds: epochMilliseconds / 1000)
        out.append(decimal: UInt64(time.day), width: 2)
        out.append("/")
        out.append(UTCTime.monthNames[time.month - 1])
        out.append("/")
        out.append(decimal: UInt64(time.year), width: 4)
        out.append(":")
        out.append(decimal: UInt64(time.hour), width: 2)
        out.append(":")
        out.append(decimal: UInt64(time.minute), width: 2)
        out.append(":")
        out.append(decimal: UInt64(time.second), width: 2)
        out.append(" +0000")
    }

    private func name(_ index: Int) -> UnsafeRawBufferPointer { request.slice(request.head.headerName(index)) }
    private func value(_ index: Int) -> UnsafeRawBufferPointer { request.slice(request.head.headerValue(index)) }

    private func writeCookies(to out: ByteBuffer) {
        guard request.head.header(.cookie) != nil else { return }
        out.append(#","cookies":["#)
        var isFirst = true
        for index in 0..<request.head.headerCount where equalsIgnoringCase(name(index), "cookie") {
            for part in value(index).split(separator: UInt8(ascii: ";")) {
                let cookie = UnsafeRawBufferPointer(rebasing: part.drop { $0 == UInt8(ascii: " ") })
                guard !cookie.isEmpty else { continue }
                if !isFirst { out.append(",") }
                isFirst = false
                out.append(jsonString: cookie)
            }
        }
        out.append("]")
    }

    private func writeHeaders(to out: ByteBuffer) {
        let count = request.head.headerCount
        out.append(#","headers":{"x-forwarded-for":""#)
        out.append(request.connection.peerHost)
        out.append(#"","x-forwarded-port":""#)
        out.append(decimal: port)
        out.append(#"","x-forwarded-proto":"http","x-forwarded-prefix":"/"#)
        out.append(function)
        out.append("\"")
        if !traceID.isEmpty {
            out.append(#","x-amzn-trace-id":"#)
            out.append(jsonString: traceID)
        }
        for index in 0..<count {
            let name = name(index)
            if isOurs(name) || (0..<index).contains(where: { equalsIgnoringCase(self.name($0), name) }) { continue }
            out.append(#",""#)
            appendLowercased(name, to: out)
            out.append(#"":"#)
            let repeats = (index + 1..<count).contains { equalsIgnoringCase(self.name($0), name) }
            guard repeats else {
                out.append(jsonString: value(index))
                continue
            }
            let joined = ByteBuffer()
            for other in index..<count where equalsIgnoringCase(self.name(other), name) {
                if other > index { joined.append(",") }
                joined.append(value(other))
            }
            out.append(jsonString: joined.bytes)
        }
        out.append("}")
    }

    /// Written by Hearth, or elsewhere in the event.
    private func isOurs(_ name: UnsafeRawBufferPointer) -> Bool {
        switch name.count {
        case 6: equalsIgnoringCase(name, "cookie")
        case 15: equalsIgnoringCase(name, "x-forwarded-for") || equalsIgnoringCase(name, "x-amzn-trace-id")
        case 16: equalsIgnoringCase(name, "x-forwarded-port")
        case 17: equalsIgnoringCase(name, "x-forwarded-proto")
        case 18: equalsIgnoringCase(name, "x-forwarded-prefix")
        default: false
        }
    }

    private func writeQuery(to out: ByteBuffer) {
        guard !request.query.isEmpty else { return }
        // Decoded, repeated names joined with a comma, in the order of their first appearance.
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        for part in request.query.split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "="))
            let rawName = UnsafeRawBufferPointer(rebasing: part[..<(equals ?? part.endIndex)])
            let rawValue = equals.map { UnsafeRawBufferPointer(rebasing: part[($0 + 1)...]) }
            let name = percentDecode(rawName, plusIsSpace: true) ?? Array(rawName)
            let value = rawValue.map { percentDecode($0, plusIsSpace: true) ?? Array($0) } ?? []
            if let known = pairs.firstIndex(where: { $0.name == name }) {
                pairs[known].value += [UInt8(ascii: ",")] + value
            } else {
                pairs.append((name, value))
            }
        }
        out.append(#","queryStringParameters":{"#)
        for (index, pair) in pairs.enumerated() {
            if index > 0 { out.append(",") }
            pair.name.withUnsafeBytes { out.append(jsonString: $0) }
            out.append(":")
            pair.value.withUnsafeBytes { out.append(jsonString: $0) }
        }
        out.append("}")
    }

    private func writeBody(to out: ByteBuffer) {
        guard !request.body.isEmpty else { return out.append(#","isBase64Encoded":false"#) }
        out.append(#","body":"#)
        if isText(request.header(.contentType)), isUTF8(request.body) {
            out.append(jsonString: request.body)
            out.append(#","isBase64Encoded":false"#)
        } else {
            out.append(UInt8(ascii: "\""))
            Base64.encode(request.body, into: out)
            out.append(#"","isBase64Encoded":true"#)
        }
    }

    /// Types whose bodies Lambda passes as they are; all others come in base64.
    private func isText(_ type: UnsafeRawBufferPointer?) -> Bool {
        guard let type else { return false }
        let name = String(decoding: type.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }, as: UTF8.self)
            .lowercased()
        return name.hasPrefix("text/") || name.hasSuffix("+json") || name.hasSuffix("+xml")
            || ["application/json", "application/javascript", "application/xml"].contains(name)
    }
}

func appendLowercased(_ bytes: UnsafeRawBufferPointer, to out: ByteBuffer) {
    let room = out.reserve(bytes.count)
    for (index, byte) in bytes.enumerated() {
        room[index] = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
    out.commit(bytes.count)
}

/// ASCII letters of either case are the same.
func equalsIgnoringCase(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where a[index] != b[index] {
        let letter = a[index] | 0x20
        guard letter == b[index] | 0x20, letter >= UInt8(ascii: "a"), letter <= UInt8(ascii: "z") else { return false }
    }
    return true
}

func equalsIgnoringCase(_ a: UnsafeRawBufferPointer, _ b: StaticString) -> Bool {
    equalsIgnoringCase(a, UnsafeRawBufferPointer(start: b.utf8Start, count: b.utf8CodeUnitCount))
}
