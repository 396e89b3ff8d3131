package import Base

/// Writes messages to the end of a buffer (RFC 9112 §3, §4, §5, §7.1); nothing is allocated beyond the
/// buffer's growth.
///
/// Names and values are written as they are: what comes from a function is first held to `isToken` and
/// `isFieldValue`.
extension ByteBuffer {
    /// `HTTP/1.1 200 OK` and CR LF; an unregistered code, 100 to 999, has an empty reason.
    package func appendStatusLine(_ status: Int) {
        if let line = HTTPStatus.line(status) {
            append(line)
            return
        }
        precondition((100...999).contains(status), "a status code has three digits")
        append("HTTP/1.1 " as StaticString)
        append(decimal: UInt64(status))
        append(" \r\n" as StaticString)
    }

    /// `GET /path HTTP/1.1` and CR LF.
    package func appendRequestLine(_ method: String, _ target: String) {
        append(method)
        append(UInt8(ascii: " "))
        append(target)
        append(" HTTP/1.1\r\n" as StaticString)
    }

    package func appendField(_ name: StaticString, _ value: StaticString) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    package func appendField(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    /// Disfavoured, so that a literal value is a `StaticString`.
    @_disfavoredOverload
    package func appendField(_ name: StaticString, _ value: String) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    package func appendField(_ name: StaticString, _ value: [UInt8]) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    /// Disfavoured, so that a literal value is an `Int`.
    @_disfavoredOverload
    package func appendField(_ name: StaticString, _ value: UInt64) {
        appendFieldName(name)
        append(decimal: value)
        appendLineEnd()
    }

    package func appendField(_ name: StaticString, _ value: Int) {
        appendFieldName(name)
        append(decimal: value)
        appendLineEnd()
    }

    package func appendField(_ name: StaticString, _ value: RequestID) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    package func appendField(_ name: StaticString, _ value: HTTPDate) {
        appendFieldName(name)
        append(value)
        appendLineEnd()
    }

    /// A field whose name is not known beforehand.
    package func appendField(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        append(name)
        append(": " as StaticString)
        append(value)
        appendLineEnd()
    }

    /// The empty line after the fields.
    package func appendHeadEnd() { appendLineEnd() }

    /// One chunk of a chunked body; nothing for no bytes, because an empty chunk would end the body.
    package func appendChunk(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        append(hexadecimal: UInt64(bytes.count))
        appendLineEnd()
        append(bytes)
        appendLineEnd()
    }

    /// The end of a chunked body without trailers.
    package func appendLastChunk() { append("0\r\n\r\n" as StaticString) }

    /// `value` in hexadecimal, lower case, without zeros in front.
    package func append(hexadecimal value: UInt64) {
        let digits = max(1, (64 - value.leadingZeroBitCount + 3) / 4)
        let room = reserve(digits)
        for at in 0..<digits {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(4 * (digits - 1 - at))) & 15
            room[at] = nibble < 10 ? 0x30 + nibble : 0x61 + nibble - 10
        }
        commit(digits)
    }

    private func appendFieldName(_ name: StaticString) {
        append(name)
        append(": " as StaticString)
    }

    private func appendLineEnd() {
        let room = reserve(2)
        room[0] = 0x0D
        room[1] = 0x0A
        commit(2)
    }
}
