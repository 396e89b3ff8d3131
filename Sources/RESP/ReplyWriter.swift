package import Base

/// Writes replies in the version of the protocol that a client speaks. What RESP2 has no type for is written as its nearest one.
///
/// A class, so that it is passed without copies; used by one thread at a time.
package final class ReplyWriter {
    package let buffer = ByteBuffer(capacity: 512)
    package var isRESP3 = false

    package init() {}

    package func simple(_ text: StaticString) {
        buffer.append(UInt8(ascii: "+"))
        buffer.append(text)
        buffer.append("\r\n")
    }

    /// A line without line ends.
    @_disfavoredOverload
    package func simple(_ text: String) {
        buffer.append(UInt8(ascii: "+"))
        buffer.append(text)
        buffer.append("\r\n")
    }

    package func ok() { buffer.append("+OK\r\n") }

    /// An error; its first word is the code. Line ends within are made blanks.
    package func error(_ text: String) {
        buffer.append(UInt8(ascii: "-"))
        for byte in text.utf8 { buffer.append(byte == 0x0D || byte == 0x0A ? 0x20 : byte) }
        buffer.append("\r\n")
    }

    package func integer(_ value: Int64) { number(UInt8(ascii: ":"), value) }
    package func integer(_ value: Int) { number(UInt8(ascii: ":"), Int64(value)) }

    private func number(_ mark: UInt8, _ value: Int64) {
        buffer.append(mark)
        if value < 0 { buffer.append(UInt8(ascii: "-")) }
        buffer.append(decimal: value.magnitude)
        buffer.append("\r\n")
    }

    package func bulk(_ bytes: UnsafeRawBufferPointer) {
        _ = buffer.reserve(bytes.count + 32)
        number(UInt8(ascii: "$"), Int64(bytes.count))
        buffer.append(bytes)
        buffer.append("\r\n")
    }

    package func bulk(_ text: String) {
        var text = text
        text.withUTF8 { bulk(UnsafeRawBufferPointer($0)) }
    }

    package func bulk(_ text: StaticString) { bulk(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)) }

    package func bulk(_ bytes: [UInt8]) { bytes.withUnsafeBytes { bulk($0) } }

    /// No value.
    package func null() { if isRESP3 { buffer.append("_\r\n") } else { buffer.append("$-1\r\n") } }

    /// No value where an array was to be expected.
    package func nullArray() { if isRESP3 { buffer.append("_\r\n") } else { buffer.append("*-1\r\n") } }

    package func array(_ count: Int) { number(UInt8(ascii: "*"), Int64(count)) }

    /// `count` pairs follow.
    package func map(_ count: Int) {
        number(isRESP3 ? UInt8(ascii: "%") : UInt8(ascii: "*"), Int64(isRESP3 ? count : count * 2))
    }

    package func set(_ count: Int) { number(isRESP3 ? UInt8(ascii: "~") : UInt8(ascii: "*"), Int64(count)) }

    /// A message that answers no request.
    package func push(_ count: Int) { number(isRESP3 ? UInt8(ascii: ">") : UInt8(ascii: "*"), Int64(count)) }

    package func bool(_ value: Bool) {
        if isRESP3 { buffer.append(value ? "#t\r\n" : "#f\r\n") } else { integer(value ? 1 : 0) }
    }

    /// Text for people to read.
    package func verbatim(_ text: String) {
        guard isRESP3 else { return bulk(text) }
        number(UInt8(ascii: "="), Int64(text.utf8.count + 4))
        buffer.append("txt:")
        buffer.append(text)
        buffer.append("\r\n")
    }
}
